"""The process that measures a part: ``python -m benchmarks.gpu.worker JOB.json``.

It writes each cell's figures as soon as they are there. If it dies, the cell that was running says which one it was.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.dense.cell import Size
from benchmarks.gpu.plan import FULL, LOSSES, RATE, SMALL, Part, setting_of
from benchmarks.gpu.record import RUNNING, Record

Measure = Callable[[str], dict[str, Any]]


def measure_of(part: Part, device: str, small: bool, folder: Path) -> Measure:
    """A function from a cell to its figures."""
    scale = SMALL if small else FULL
    setting = setting_of(scale, device)
    if part.kind == RATE:
        from benchmarks.gpu.rate import bare_rate

        return lambda pair: {"status": "ok", **bare_rate(Size.parse(f"1:{pair}"), setting, scale.heights)}
    if part.kind == LOSSES:
        from benchmarks.gpu.losses import Ways

        return Ways(Size.parse(part.size), setting).measure
    from benchmarks.gpu.step import measure_steps

    return lambda sampler: measure_steps(sampler, scale.step, device, small, folder)


def job(part: Part, cells: list[str], record: Record, device: str, small: bool) -> str:
    """What :func:`main` reads."""
    given = {"part": part.as_dict(), "cells": cells, "folder": str(record.folder), "settings": record.settings}
    return json.dumps(given | {"device": device, "small": small})


def main(text: str) -> None:
    given = json.loads(text)
    part = Part(**{name: tuple(value) if name == "cells" else value for name, value in given["part"].items()})
    record = Record(Path(given["folder"]), given["settings"])
    measure = measure_of(part, given["device"], given["small"], record.folder)
    for cell in given["cells"]:
        record.put(part, cell, {"status": RUNNING, "began": time.time()})
        record.put(part, cell, measure(cell))


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(encoding="utf-8"))
