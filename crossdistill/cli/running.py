"""How runs behave on the command line: quiet libraries, and a clear end where one was interrupted."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

TRY_LATER = 75


def quiet_libraries() -> None:
    """Our progress bar is the only one, and deprecations inside libraries are not the user's business."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")


@contextmanager
def reporting_interruption(way_out: str = "--resume goes on from its checkpoint") -> Iterator[None]:
    """A run that stopped early says how to go on.

    Exits with 128 + the signal's number where a signal stopped it, as shells do, and with 75 (try again later, as in
    sysexits.h) where its teacher's server did.
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
