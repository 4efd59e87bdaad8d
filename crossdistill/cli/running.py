"""Runs on the command line: quiet libraries, and a clear message and exit code if a run stops early."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from crossdistill.cli.saying import say
from crossdistill.runs.terminal import Terminal
from crossdistill.space import out_of_space, telling_out_of_space

EVALUATION_FAILED = 70
"""Exit code of a training in which an evaluation failed: EX_SOFTWARE of sysexits.h."""
NO_SPACE = 74
"""Exit code of a run for which a disk is full: EX_IOERR of sysexits.h."""
TRY_LATER = 75
"""Exit code of a run that its teacher's server stopped: EX_TEMPFAIL of sysexits.h."""


@contextmanager
def _quiet_threads(folder: Path) -> Iterator[None]:
    """No traceback of a thread that has no room to write: TensorBoard raises its error again in the main thread."""
    previous = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        if out_of_space(failure.exc_value, folder) is None:
            previous(failure)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = previous


@contextmanager
def reporting_interruption(folder: Path, way_out: str | None = None) -> Iterator[None]:
    """Report a run that stops early, and how to continue it.

    Exits with 128 + the signal's number if a signal stopped it, as shells do, with TRY_LATER if a server
    did, with EVALUATION_FAILED if an evaluation did, and with NO_SPACE if a disk is full.

    Args:
        folder: that the run writes to.
        way_out: how to continue; by default, what the folder allows.
    """
    from crossdistill.errors import EvaluationError, OutOfSpaceError, ServerError
    from crossdistill.runs.interrupt import Interrupted
    from crossdistill.runs.quiet import quiet_libraries

    quiet_libraries()
    try:
        with _quiet_threads(folder), telling_out_of_space(folder):
            yield
    except Interrupted as stop:
        say(stop, f"{stop}; {way_out or _continuation(folder)}")
        raise typer.Exit(128 + stop.signal_number) from None
    except KeyboardInterrupt as stop:  # before the run itself listens, while models are read and checked
        if os.environ.get("RANK", "0") == "0":
            say(stop, f"stopped by SIGINT; {way_out or _continuation(folder)}")
        raise typer.Exit(128 + signal.SIGINT) from None
    except (ServerError, EvaluationError, OutOfSpaceError) as error:
        say(error, f"{error} The run stopped; {way_out or _continuation(folder)}")
        codes = {EvaluationError: EVALUATION_FAILED, OutOfSpaceError: NO_SPACE}
        raise typer.Exit(codes.get(type(error), TRY_LATER)) from None


@contextmanager
def shown_as_asked(terminal: Terminal, config: Any) -> Iterator[None]:
    """A run inside this context shows what its configuration asks for; what follows it are lines alone.

    Args:
        terminal: of the command.
        config: of the run; ``disable_tqdm`` in its [train] leaves lines that stay.
    """
    if config.train.get("disable_tqdm"):
        terminal.silence()
    try:
        yield
    finally:
        terminal.silence()


def keep_trackio(output: Path) -> None:
    """Let trackio write below a run's folder, unless ``TRACKIO_DIR`` names another; call it before TRL is imported.

    TRL imports trackio, which reads its folder then.

    Args:
        output: the run's folder.
    """
    os.environ.setdefault("TRACKIO_DIR", str((output / "logs" / "trackio").absolute()))


def check_before_loading(output: Path, resume: bool, teachers: Iterable[Any] = ()) -> None:
    """Check what needs no library, before they are loaded for seconds.

    Args:
        output: the run's folder.
        resume: whether it holds the run that goes on.
        teachers: models of the run.

    Raises:
        InputError: the folder holds files already, or what a server as teacher needs is not installed.
    """
    from crossdistill.extras import require
    from crossdistill.inspection.model_name import is_url
    from crossdistill.runs.folder import RunFolder

    if any(map(is_url, teachers)):
        require("served", user="a teacher behind a server")
    if not resume and os.environ.get("RANK", "0") == "0":  # other processes may not see its disk
        RunFolder(output).check({}, resume)


def is_nothing_left(terminal: Terminal, output: Path, config: Any) -> bool:
    """Whether a run that is resumed is finished, which is said then.

    Args:
        terminal: of the command.
        output: the run's folder.
        config: of the run.
    """
    from crossdistill.runs.finished import is_finished

    if not is_finished(output, config):
        return False
    terminal.silence()
    terminal.say(
        f"nothing is left to do: the run in {output} is finished. For a longer one, raise train.max_steps (or "
        "train.num_train_epochs) and resume it."
    )
    return True


def say_summary(terminal: Terminal, run: dict[str, Any], output: Path) -> None:
    """Print what a finished run has come to.

    Args:
        terminal: of the command.
        run: the content of its ``run.json``.
        output: its folder.
    """
    from crossdistill.runs.folder import RunFolder
    from crossdistill.runs.summary import summary

    for line in summary(run, RunFolder(output)):
        terminal.say(line)


def _continuation(folder: Path) -> str:
    """How a run can be continued that has written so far what is in its folder."""
    from crossdistill.runs.folder import RunFolder

    run = RunFolder(folder)
    if any(run.checkpoints.glob("checkpoint-*/trainer_state.json")):
        return "--resume continues from its checkpoint"
    if not run.config.exists():
        return "nothing was trained: begin again" + (" in a new folder" if run.holds_files else "")
    kept = " with the responses that it has" if (folder / "responses.jsonl").exists() else ""
    return f"there is no checkpoint yet: --resume begins again{kept}"
