"""A harness on a checkpoint, with its results in the evaluation's own file."""

import os
import shlex
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console

from crossdistill.errors import InputError
from crossdistill.inspection.model_name import is_url
from crossdistill.integrations.harness.base import Harness, HarnessRequest
from crossdistill.runs.evaluated_model import base_of, fingerprint
from crossdistill.runs.evaluation_folder import EvaluationFolder

_FOLDER = "harness"
_GRACE_S = 10.0


def run_harness(harness: Harness, request: HarnessRequest, output: Path, is_quiet: bool = False) -> dict[str, Any]:
    """Run a harness, and add its results to ``eval.json``.

    What the harness prints and writes is in a folder of its own in ``harness/``, a new one each time.

    Args:
        harness: to run.
        request: its model and tasks; its folder is chosen here.
        output: the folder of an evaluation of the same model, or a new one.
        is_quiet: whether to say nothing while it runs.

    Returns:
        The content of ``eval.json``: under ``harness``, the harness's name, and the task, ``metrics`` with their
        ``mean``, ``stderr`` and ``n``, the harness's ``version`` and its ``command``.

    Raises:
        InputError: the harness is not installed, cannot do what is asked for, or failed; or the folder is another
            model's.
    """
    if is_url(request.model):
        raise InputError("a harness loads the checkpoint itself: give its folder or hub id, not a server's URL.")
    if not request.tasks:
        raise InputError(f"name a task of {harness.name} with --task.")
    version = _version(harness, request.python)
    folder = EvaluationFolder(output)
    place = _new_folder(output / _FOLDER, harness.name)
    command = harness.command(replace(request, folder=place))
    _check_model(folder, request.model)
    loaded = {"weights": fingerprint(request.model, base_of(request.model))}
    with folder.claimed(request.model, {}, loaded=loaded):
        place.mkdir(parents=True)
        log = place / "log.txt"
        waiting = nullcontext() if is_quiet else Console(stderr=True).status(f"{harness.name} runs; its log is {log}")
        with waiting:
            _run(harness, command, log)
        found = {
            task: {"metrics": metrics, "version": version, "command": shlex.join(command)}
            for task, metrics in harness.results(place).items()
        }
        return folder.write_harness(request.model, harness.name, found)


def _new_folder(parent: Path, name: str) -> Path:
    """NAME-1, or the next number that is free."""
    return next(folder for number in count(1) if not (folder := parent / f"{name}-{number}").exists())


def _check_model(folder: EvaluationFolder, model: str) -> None:
    """Also if the folder has results of a harness alone, and no samples."""
    saved = folder.read()
    if saved and saved.get("model") != model:
        raise InputError(
            f"the evaluation in {folder.path} is of the model {saved.get('model')}, not {model}: name a new folder."
        )


def _version(harness: Harness, python: str) -> str:
    program = f"from importlib.metadata import version; print(version({harness.distribution!r}))"
    try:
        asked = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise InputError(f"--harness-python {python} cannot be run ({error.strerror}): name a Python.") from None
    if asked.returncode != 0:
        raise InputError(
            f"{harness.name} is not installed for {python}: pip install 'crossdistill[{harness.name}]', or name the "
            "Python of an environment that has it with --harness-python."
        )
    return asked.stdout.strip()


def _run(harness: Harness, command: list[str], log: Path) -> None:
    """Run the command with its output in a file; it ends with this process's work, however that ends."""
    quiet = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=quiet
        )
        try:
            status = process.wait()
        finally:
            _end(process)
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["(it printed nothing)"]
        raise InputError(f"{harness.name} failed: {lines[-1].strip()} (exit code {status}); its log is {log}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
