"""The folder of a run: what belongs to it, and whether it may be written.

OUTPUT/config.json    the configuration, written as the run begins; a resumed run must have the same one, but for the
                      coverage guard's settings
OUTPUT/before.json    the held-out figure before training
OUTPUT/checkpoints/   checkpoint-N, each complete once its trainer_state.json can be read
OUTPUT/model/         the trained model (or adapter) with its tokenizer
OUTPUT/run.json       figures
OUTPUT/report.html    the same for a person
OUTPUT/samples.jsonl  a few responses with ids and alignment, for `crossdistill align --run`
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.runs.run_file import write_json


@dataclass(frozen=True)
class RunFolder:
    """Paths inside an output folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def before(self) -> Path:
        return self.path / "before.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def holds_files(self) -> bool:
        """Whether there is a file in it, at any depth; folders alone are nothing to lose."""
        return any(path.is_file() for path in self.path.rglob("*"))

    def check(self, config: dict[str, Any], resume: bool) -> None:
        """Whether a run of this configuration may be written here.

        Raises InputError for a folder that holds another run or other files, and when resuming for a folder without
        a run or with a run of another configuration.
        """
        self._check_name()
        if resume:
            self._check_same(config)
            return
        self._check_writable()
        if self.holds_files:
            what = "another run" if self.config.exists() else "other files"
            way_out = "pass --resume to go on with it, or name" if self.config.exists() else "name"
            raise InputError(f"the output folder {self.path} holds {what}: {way_out} a new folder.")

    def claim(self, config: dict[str, Any]) -> None:
        """Write the configuration, once it is known that the run can begin; a resumed run has it already."""
        if not self.config.exists():
            write_json(self.config, config)

    def _check_name(self) -> None:
        try:
            self.path.exists()
        except OSError as error:  # a name that is too long, or a folder on the way that may not be entered
            raise InputError(
                f"the output folder {self.path} cannot be used ({error.strerror}): name another one."
            ) from None

    def _check_writable(self) -> None:
        nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not nearest.is_dir():
            what = "is a file" if nearest == self.path else f"lies below the file {nearest}"
            raise InputError(f"the output folder {self.path} {what}: name a new folder.")
        if not os.access(nearest, os.W_OK | os.X_OK) or not _can_create(nearest):
            raise InputError(f"the output folder {self.path} cannot be written in {nearest}: name another one.")

    def _check_same(self, config: dict[str, Any]) -> None:
        if not self.config.exists():
            raise InputError(f"there is no run to resume in {self.path}: start it without --resume.")
        try:
            saved = json.loads(self.config.read_text())
        except json.JSONDecodeError:
            raise InputError(f"{self.config} is damaged: the run cannot be resumed; start anew elsewhere.") from None
        differences = list(_differences(saved, json.loads(json.dumps(config))))
        if differences:
            raise InputError(
                f"the checkpoints in {self.path} are of another configuration: {'; '.join(differences)}. Resume with "
                "the same one, or start anew in another folder."
            )

    def latest_checkpoint(self, num_processes: int = 1) -> Path | None:
        """The newest complete checkpoint of a run on so many processes.

        The trainer writes trainer_state.json last, so one that can be read is whole; of several processes each writes
        its own random state, perhaps later.
        """
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        return next((path for path in reversed(found) if _is_whole(path, num_processes)), None)


def _can_create(folder: Path) -> bool:
    """Whether a file can really be made there; for root, permissions alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _differences(saved: dict[str, Any], wanted: dict[str, Any], table: str = "") -> Iterator[str]:
    for key in sorted({*saved, *wanted}):
        was, now = saved.get(key), wanted.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now, f"{table}{key}.")
        elif was != now:
            yield f"{table}{key} (was {was!r}, now {now!r})"


def _is_whole(checkpoint: Path, num_processes: int) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return num_processes == 1 or all((checkpoint / f"rng_state_{k}.pth").exists() for k in range(num_processes))
