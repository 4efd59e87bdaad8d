"""The figures of a run, part by part, in a folder: what is there is not measured again."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import Part
from crossdistill.errors import InputError
from crossdistill.runs.run_file import read_record, write_json

SETTINGS = "settings.json"
RUNNING = "running"
LASTING = ("ok", "out of memory", "does not fit", "time-out")
"""Results that a repetition would not change; what was skipped or has failed is tried again."""


class Record:
    """Figures of parts, each in a file that the process which measures it writes after each cell.

    Args:
        folder: of the files.
        settings: of the run.

    Raises:
        InputError: the folder has figures of other settings, or a damaged file of settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder, self.settings = folder, json.loads(json.dumps(settings))
        file = folder / SETTINGS
        if file.exists():
            self._check(read_record(file))
        else:
            write_json(file, self.settings)

    def _check(self, found: Mapping[str, Any]) -> None:
        names = sorted(name for name in {*found, *self.settings} if found.get(name) != self.settings.get(name))
        if names:
            changes = "; ".join(f"{name}: {found.get(name)} there, {self.settings.get(name)} now" for name in names)
            raise InputError(
                f"{self.folder} has figures of another run ({changes}), and one table must not mix them: name another "
                "folder with --work, or delete this one."
            )

    def file(self, part: Part) -> Path:
        """Of a part."""
        return self.folder / (part.name.replace("/", "-").replace(":", "_").replace(" ", "_") + ".json")

    def cells(self, part: Part) -> dict[str, Any]:
        """Cell -> its figures so far."""
        file = self.file(part)
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def put(self, part: Part, cell: str, figures: Mapping[str, Any]) -> None:
        write_json(self.file(part), self.cells(part) | {cell: figures})

    def drop(self, part: Part, cell: str) -> None:
        """Forget a cell, as if it had not begun."""
        write_json(self.file(part), {name: figures for name, figures in self.cells(part).items() if name != cell})

    def begin(self, part: Part, absent: Mapping[str, str]) -> None:
        """Forget what is to be tried again, and put down why cells are skipped."""
        lasting = {cell: one for cell, one in self.cells(part).items() if one["status"] in LASTING}
        skipped = {cell: {"status": "skipped", "reason": reason} for cell, reason in absent.items()}
        write_json(self.file(part), lasting | {cell: one for cell, one in skipped.items() if cell not in lasting})

    def missing(self, part: Part) -> list[str]:
        """The cells without figures and without a reason why there are none, in the part's order."""
        found = self.cells(part)
        return [cell for cell in part.cells if cell not in found]

    def running(self, part: Part) -> tuple[str, float] | None:
        """The cell that is being measured, and the time at which it began."""
        for cell, figures in self.cells(part).items():
            if figures["status"] == RUNNING:
                return cell, figures["began"]
        return None

    def merged(self, parts: Iterable[Part]) -> dict[str, Any]:
        """All figures so far."""
        cells = {part.name: {**part.as_dict(), "cells": self.cells(part)} for part in parts}
        return {"settings": self.settings, "parts": cells}
