"""Runs on the command line: quiet libraries, and a clear message and exit code if a run stops early."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

TRY_LATER = 75
"""Exit code of a run that its teacher's server stopped: EX_TEMPFAIL of sysexits.h."""


def quiet_libraries() -> None:
    """Turn off the progress bars of libraries and their internal deprecation warnings."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")


@contextmanager
def reporting_interruption(way_out: str = "--resume continues from its checkpoint") -> Iterator[None]:
    """Report a run that stops early, and how to continue it.

    Exits with 128 + the signal's number if a signal stopped it, as shells do, and with TRY_LATER if its teacher's
    server did.

    Args:
        way_out: how to continue.
    """
    from crossdistill.errors import TeacherError
    from crossdistill.runs.interrupt import Interrupted

    quiet_libraries()
    try:
        yield
    except Interrupted as stop:
        Console(stderr=True).print(f"{stop}; {way_out}", markup=False, soft_wrap=True)
        raise typer.Exit(128 + stop.signal_number) from None
    except TeacherError as error:
        Console(stderr=True).print(f"{error} The run stopped; {way_out}", markup=False, soft_wrap=True)
        raise typer.Exit(TRY_LATER) from None
