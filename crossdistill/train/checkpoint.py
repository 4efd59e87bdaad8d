"""Checkpoints on disk: which one a run goes on from, and whether it is whole.

A checkpoint of transformers is whole once its trainer_state.json can be read, because that is written last, by one of
several processes; later a file can be cut short or removed. Engines that shard write weights and optimizer in layouts
of their own, see `fsdp_state` and `zero_state`; of those of XLA and SageMaker only the trainer's state is read.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from crossdistill.findings import FindingLog, Kind, Severity, When
from crossdistill.train.engine_state import EngineState, check_state
from crossdistill.train.fsdp_state import FSDPState, fsdp_faults
from crossdistill.train.zero_state import state_folder, zero_faults

NOT_WHOLE = Kind(
    "checkpoint_not_whole",
    Severity.REFUSAL,
    When.LOADING,
    "the checkpoint {checkpoint} cannot be resumed, because {fault}: name a whole one, or pass True for the newest "
    "whole one of the run.",
    "the run would crash, or go on with a new optimizer, random state or count of what it has spent",
)
NO_PATH = Kind(
    "no_path_of_a_checkpoint",
    Severity.REFUSAL,
    When.LOADING,
    "resume_from_checkpoint is {value}, of type {type}: give the path of a checkpoint, or True for the newest whole "
    "one of the run.",
    "the run would crash",
)
NO_CHECKPOINT = Kind(
    "no_checkpoint",
    Severity.REFUSAL,
    When.LOADING,
    "there is no checkpoint to resume in {folder}{faults}: train without resume_from_checkpoint to begin anew.",
    "the run would begin anew in silence",
)
PASSED_OVER = Kind(
    "checkpoint_passed_over",
    Severity.WARNING,
    When.LOADING,
    "the checkpoint {checkpoint} is passed over, because {fault}: the run goes on from an older one, or from its start "
    "if there is none.",
    "steps that were trained are trained again",
)

PROCESSES_FILE = "processes.json"
"""Says of how many processes a checkpoint is; another number may go on from it."""
# as transformers.trainer calls them, whose import takes accelerate and data sets along
OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME = "optimizer.pt", "scheduler.pt", "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_STATE_OF_ONE, _STATE_OF_SEVERAL = "rng_state.pth", "rng_state_{}.pth"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_OTHER_LAYOUTS = ("rank*-of-*", "user_content.pt")


@dataclass(frozen=True)
class Contents:
    """What a run writes into each of its checkpoints, beyond weights and the trainer's state.

    Attributes:
        num_processes: of the run; each of several writes its own random state.
        has_optimizer: whether optimizer, scheduler and random states are written.
        own: names of further files that must be there.
        engine: how an engine that shards writes its state; None without one.
    """

    num_processes: int = 1
    has_optimizer: bool = True
    own: tuple[str, ...] = ()
    engine: EngineState | None = None

    def fault(self, checkpoint: Path) -> str | None:
        """Why a checkpoint is not whole, as a clause; None if it is."""
        return next(self._faults(checkpoint), None)

    def _faults(self, checkpoint: Path) -> Iterator[str]:
        if not checkpoint.is_dir():
            yield "there is no such folder"
            return
        if not isinstance(_json(checkpoint / TRAINER_STATE_NAME), dict):
            inside = _steps(checkpoint)
            hint = f" (it holds {inside[-1].name}, which is one)" if inside else ""
            yield f"its {TRAINER_STATE_NAME} is missing or damaged{hint}"
        if any(any(checkpoint.glob(pattern)) for pattern in _OTHER_LAYOUTS):
            return
        if state_folder(checkpoint) is not None:
            yield from zero_faults(checkpoint)
        else:
            is_of_fsdp = FSDPState.saved_in(checkpoint) is not None
            yield from fsdp_faults(checkpoint) if is_of_fsdp else self._plain_faults(checkpoint)
            yield from _missing(checkpoint, (SCHEDULER_NAME,))
            yield from self._random_state_faults(checkpoint)
        yield from _missing(checkpoint, self.own)
        yield from (f"its {path.name} is damaged" for path in sorted(checkpoint.iterdir()) if _is_damaged(path))

    def _plain_faults(self, checkpoint: Path) -> Iterator[str]:
        yield from _weight_faults(checkpoint)
        if not self.has_optimizer:
            yield "it holds the model alone (save_only_model), and its learning rate would begin anew"
        yield from _missing(checkpoint, (OPTIMIZER_NAME,))

    def _random_state_faults(self, checkpoint: Path) -> Iterator[str]:
        """A checkpoint of another number of processes can be resumed; one in which a process's state lacks cannot."""
        if (checkpoint / _STATE_OF_ONE).exists():
            return
        several = len(list(checkpoint.glob(_STATE_OF_SEVERAL.format("*"))))
        written = (_json(checkpoint / PROCESSES_FILE) or {}).get("num_processes", self.num_processes)
        if several == 0:
            yield f"it has no {_STATE_OF_ONE}"
        elif several < written:
            yield f"it has the random states of {several} processes of {written}"


def newest_whole(folder: Path, contents: Contents, log: FindingLog | None = None) -> Path | None:
    """The newest whole checkpoint in a folder, with a warning for each newer one; None if there is none.

    Args:
        folder: that holds ``checkpoint-N``; it need not exist.
        contents: what each holds.
        log: receives the warnings.

    Raises:
        FindingError: only another launch can go on from it.
    """
    log = log or FindingLog()
    for checkpoint in reversed(_steps(folder)):
        fault = contents.fault(checkpoint)
        if fault is None:
            check_state(checkpoint, contents.engine)
            return checkpoint
        log.add(PASSED_OVER(checkpoint=checkpoint, fault=fault))
    return None


def checkpoint_to_resume(
    wanted: str | Path | bool | None, folder: Path, contents: Contents, log: FindingLog | None = None
) -> Path | None:
    """The checkpoint that a run goes on from; None if it begins anew.

    Args:
        wanted: path of a checkpoint, or True for the newest whole one; None or False to begin anew.
        folder: in which the run writes its checkpoints.
        contents: what each holds.
        log: receives warnings of checkpoints that are passed over.

    Raises:
        FindingError: the checkpoint is not whole, there is no whole one, only another launch can go on from it, or
            `wanted` is no path.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        newest = newest_whole(folder, contents, log)
        if newest is None:
            faults = "; ".join(f"{path.name}: {contents.fault(path)}" for path in _steps(folder))
            raise NO_CHECKPOINT.error(folder=folder, faults=f" that is whole ({faults})" if faults else "")
        return newest
    if not isinstance(wanted, str | PathLike):
        raise NO_PATH.error(value=repr(wanted), type=type(wanted).__name__)
    fault = contents.fault(Path(wanted))
    if fault is not None:
        raise NOT_WHOLE.error(checkpoint=wanted, fault=fault)
    check_state(Path(wanted), contents.engine)
    return Path(wanted)


def _steps(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = {path: _NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*") if path.is_dir()}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=numbers.__getitem__)


def _weight_faults(checkpoint: Path) -> Iterator[str]:
    indexes = [checkpoint / name for name in _INDEXES if (checkpoint / name).exists()]
    for index in indexes:
        listed = (_json(index) or {}).get("weight_map", {}).values()
        yield from _missing(checkpoint, sorted(set(listed)))
    adapters = [path for name in _WEIGHTS for path in checkpoint.glob(f"*/{name}")]
    if not indexes and not adapters and not any((checkpoint / name).exists() for name in _WEIGHTS):
        yield f"it has no weights ({', '.join(_WEIGHTS)})"
    yield from (f"its {path.relative_to(checkpoint)} is damaged" for path in adapters if _is_damaged(path))


def _missing(checkpoint: Path, names: Any) -> Iterator[str]:
    yield from (f"it has no {name}" for name in names if not (checkpoint / name).exists())


def _is_damaged(path: Path) -> bool:
    """Whether a file was cut short, as far as its ends tell; tensors are not read."""
    if path.suffix == ".safetensors":
        return not _has_whole_header(path)
    if path.suffix in (".pt", ".pth") or path.match("*_model*.bin"):
        return not zipfile.is_zipfile(path)  # the directory of a zip file is at its end
    return path.suffix == ".json" and _json(path) is None


def _has_whole_header(path: Path) -> bool:
    """The header gives the file's length, which a file that was cut contradicts."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except SafetensorError:
        return False


def _json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
