"""The folder of a run: what belongs to it, and whether it may be written.

    OUTPUT/config.json    the configuration, written first; a resumed run must have the same one
    OUTPUT/before.json    the held-out figure before training
    OUTPUT/checkpoints/   checkpoint-N, each complete once its trainer_state.json can be read
    OUTPUT/model/         the trained model (or adapter) with its tokenizer
    OUTPUT/run.json       figures
    OUTPUT/report.html    the same for a person
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.report.run_file import write_json


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

    def open(self, config: dict[str, Any], resume: bool) -> None:
        """Check the folder and claim it for a run of this configuration."""
        self.check(config, resume)
        self.claim(config)

    def check(self, config: dict[str, Any], resume: bool) -> None:
        """Refuse, with the reason, a folder that a run of this configuration may not write.

        Raises InputError for a folder that holds another run or other files, and when resuming for a folder without
        a run or with a run of another configuration.
        """
        if resume:
            self._check_same(config)
        elif any(path.is_file() for path in self.path.rglob("*")):
            what = "another run" if self.config.exists() else "other files"
            way_out = "pass --resume to go on with it, or name" if self.config.exists() else "name"
            raise InputError(f"the output folder {self.path} holds {what}: {way_out} a new folder.")

    def claim(self, config: dict[str, Any]) -> None:
        """Write the configuration, which makes the folder this run's; the last step before work begins."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.config, config)

    def _check_same(self, config: dict[str, Any]) -> None:
        if not self.config.exists():
            raise InputError(f"there is no run to resume in {self.path}: start it without --resume.")
        saved = json.loads(self.config.read_text())
        wanted = json.loads(json.dumps(config))
        differences = [
            f"{key} (was {saved.get(key)!r}, now {wanted.get(key)!r})"
            for key in sorted({*saved, *wanted})
            if saved.get(key) != wanted.get(key)
        ]
        if differences:
            raise InputError(
                f"the checkpoints in {self.path} are of another configuration: {'; '.join(differences)}. Resume with "
                "the same one, or start anew in another folder."
            )

    def latest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint: the trainer writes trainer_state.json last, so one that can be read is whole."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        return next((path for path in reversed(found) if _is_whole(path)), None)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True
