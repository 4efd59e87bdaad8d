"""Processes that each run one cell."""

import os
import signal
import sys
import threading
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path
from typing import Any

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import ArenaFile

LOG = "log.txt"
"""What a cell's process prints."""
NO_SPACE = 74
"""Exit code of a process for which a disk is full: EX_IOERR of sysexits.h."""
STOPPED = 75
"""Exit code of a process that a signal stopped, so that its cell can go on: EX_TEMPFAIL of sysexits.h."""
_LOCK = ".lock"
_PRELOADED = ["crossdistill.arena.cell_run", "crossdistill.runs.train", "crossdistill.runs.sft", "scipy.stats"]


def context_for(devices: list[str], jobs: int) -> Any:
    """How processes begin: on the CPU as copies of one that has imported the libraries, which takes seconds.

    Args:
        devices: GPUs; a process that CUDA has touched must not be copied, so there each one begins anew.
        jobs: processes at once; they share the cores, unless ``OMP_NUM_THREADS`` says how many each has.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by the processes' libraries when they are loaded
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if devices:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def start(
    context: BaseContext, arena: ArenaFile, cell: Cell, rules: str, folder: Path, device: str | None, keep_models: bool
) -> BaseProcess:
    """Start the process of a cell; what it prints goes to the cell's log."""
    arguments = arena, cell, rules, folder, device, keep_models
    process: BaseProcess = context.Process(target=_run, args=arguments, name=cell.id)  # type: ignore[attr-defined]
    process.start()
    return process


def _run(arena: ArenaFile, cell: Cell, rules: str, folder: Path, device: str | None, keep_models: bool) -> None:
    from filelock import FileLock

    os.setpgrp()  # a terminal's Ctrl-C is for the arena, which tells its processes: two signals would kill them
    threading.Thread(target=end_with_parent, daemon=True).start()
    folder.mkdir(parents=True, exist_ok=True)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    with (folder / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        with FileLock(folder / _LOCK):  # the process of an arena that was killed may not have ended yet
            sys.exit(_finished(arena, cell, rules, folder, keep_models))


def end_with_parent() -> None:
    """Stop this process, after a checkpoint if it trains, when the arena's is gone."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _finished(arena: ArenaFile, cell: Cell, rules: str, folder: Path, keep_models: bool) -> int:
    """The exit code: 0 if the cell has an outcome, STOPPED if a signal was received, NO_SPACE if a disk is full."""
    from crossdistill.arena.cell_run import run_cell
    from crossdistill.errors import OutOfSpaceError
    from crossdistill.runs.interrupt import Interrupted
    from crossdistill.runs.quiet import quiet_libraries

    quiet_libraries()
    try:
        run_cell(arena, cell, rules, folder, keep_models)
    except Interrupted:
        return STOPPED
    except OutOfSpaceError as error:
        print(error, flush=True)
        return NO_SPACE
    return 0


def is_stopped(code: int | None) -> bool:
    """Whether a process was told to stop, by its exit code: it has stopped after a checkpoint, or had nothing to keep.

    Example:
        >>> is_stopped(STOPPED), is_stopped(-signal.SIGTERM), is_stopped(-signal.SIGKILL), is_stopped(1)
        (True, True, False, False)
    """
    return code in (STOPPED, -signal.SIGTERM, -signal.SIGINT)


def how_ended(code: int | None) -> str:
    """How a process ended without an outcome, in words.

    Example:
        >>> how_ended(3), how_ended(-signal.SIGKILL), how_ended(-signal.SIGSEGV)
        ('ended with code 3', 'was killed by SIGKILL (out of memory?)', 'was killed by SIGSEGV')
    """
    if code is None or code >= 0:
        return f"ended with code {code}"
    guess = " (out of memory?)" if code == -signal.SIGKILL else ""
    known = {number.value: number.name for number in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}{guess}"


def last_line(folder: Path) -> str:
    """What a process said last, for the reason of a failure."""
    log = folder / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
