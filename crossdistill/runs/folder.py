"""The output folder of a run: its files, and whether a run may write to it.

config.json    the configuration, written as the run starts; a resumed run must have the same one, except for what
               :mod:`crossdistill.runs.identity` leaves out, and may be longer
before.json    the held-out evaluation before training
evaluations/   step-N: the student's answers to the problems of eval_tasks after N steps
checkpoints/   checkpoint-N
logs/          files of loggers, if report_to names some
model/         the trained model (or adapter) with its tokenizer
run.json       figures, for programs
report.html    the same, for people
samples.jsonl  a few responses with ids and alignment, for `crossdistill align --run`
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.runs.identity import MAY_CHANGE, as_long
from crossdistill.runs.run_file import write_json
from crossdistill.train.checkpoint import Contents, newest_whole


@dataclass(frozen=True)
class RunFolder:
    """An output folder and the paths inside it.

    Attributes:
        path: of the folder; it need not exist.

    Example:
        >>> RunFolder(Path("runs/first")).report.as_posix()
        'runs/first/report.html'
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def before(self) -> Path:
        return self.path / "before.json"

    def evaluation(self, step: int) -> Path:
        """Folder of the evaluation after so many steps."""
        return self.path / "evaluations" / f"step-{step:06d}"

    @property
    def evaluations(self) -> list[Path]:
        """Folders of all evaluations during training, by step."""
        return sorted((self.path / "evaluations").glob("step-*"))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

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
        """Whether there is a file in it, at any depth; empty folders do not count."""
        return self.holds_other_than()

    def holds_other_than(self, *names: str) -> bool:
        """Whether there is a file of another name in it, at any depth."""
        return any(path.is_file() and path.name not in names for path in self.path.rglob("*"))

    def check(self, config: dict[str, Any], resume: bool) -> None:
        """Check that a run may write here.

        Args:
            config: the run's configuration, as JSON data.
            resume: whether it continues a run.

        Raises:
            InputError: the folder holds another run or other files, or cannot be written; when resuming, it holds no
                run, or one with another configuration.
        """
        if resume:
            self._check_name()
            self._check_same(config)
            return
        self.check_usable()
        if self.holds_files:
            what = "another run" if self.config.exists() else "other files"
            way_out = "pass --resume to continue it, or name" if self.config.exists() else "name"
            raise InputError(f"the output folder {self.path} holds {what}: {way_out} a new folder.")

    def check_usable(self) -> None:
        """Check that files can be written here, whatever it holds.

        Raises:
            InputError: they cannot.
        """
        self._check_name()
        self._check_writable()

    def claim(self, config: dict[str, Any]) -> None:
        """Write the configuration, once the run is known to be able to start; a resumed run may be longer than it."""
        if not self.config.exists() or json.loads(self.config.read_text()) != config:
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
            raise InputError(
                f"{self.config} is damaged, so the run cannot be resumed: start a new one in another folder."
            ) from None
        wanted = json.loads(json.dumps(config))
        found = list(differences(as_long(_kept(saved), wanted), _kept(wanted)))
        if found:
            raise InputError(
                f"the checkpoints in {self.path} are of another configuration: {'; '.join(found)}. Resume with "
                "the same one, or start a new run in another folder."
            )

    def latest_checkpoint(self, contents: Contents, log: FindingLog | None = None) -> Path | None:
        """The newest whole checkpoint; None if there is none.

        Args:
            contents: what the run's checkpoints hold.
            log: receives a warning for each newer one that is not whole.
        """
        return newest_whole(self.checkpoints, contents, log)


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    """Without what may change, which a configuration holds that an earlier version wrote."""
    train = {key: value for key, value in (config.get("train") or {}).items() if key not in MAY_CHANGE}
    return {**config, "train": train} if "train" in config else config


def _can_create(folder: Path) -> bool:
    """Whether a file can really be created there; for root, permissions alone do not decide."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def differences(saved: dict[str, Any], wanted: dict[str, Any], table: str = "") -> Iterator[str]:
    """What differs between two configurations, as JSON data, in words.

    Args:
        saved: of what is there.
        wanted: of what is to be done.
        table: name of the table that they are, with a dot.

    Example:
        >>> list(differences({"train": {"seed": 1}}, {"train": {"seed": 2}}))
        ['train.seed (was 1, now 2)']
    """
    for key in sorted({*saved, *wanted}):
        was, now = saved.get(key), wanted.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from differences(was, now, f"{table}{key}.")
        elif was != now:
            yield f"{table}{key} (was {was!r}, now {now!r})"
