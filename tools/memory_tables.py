"""Write the tables of docs/memory.md from published sizes of models.

    python tools/memory_tables.py

Each table stands between two comments that name it. The models' configurations are in benchmarks/published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossdistill.runs.fitting import Devices, Pair, Way, Work
from crossdistill.runs.fitting_tables import length_table, memory_table

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/memory.md")
PUBLISHED = ROOT / "benchmarks" / "published"
EXAMPLE = ("qwen3-8b", "qwen3-32b")
DEVICES = Devices(8, 80)
PAIRS = (
    *(("qwen3-0.6b", "qwen3-8b"), ("qwen3-1.7b", "qwen3-8b")),
    *(("qwen3-8b", "gpt-oss-20b"), ("qwen3-8b", "qwen3-32b")),
)
PLACES = (Devices(1, 24), Devices(1, 80), DEVICES)


def tables() -> Iterator[str]:
    """The tables, each between its comments."""
    pairs = {names: Pair(*(str(PUBLISHED / name) for name in names)) for names in PAIRS}
    found = list(pairs[EXAMPLE].ways(DEVICES, Work()))
    yield _between("memory", memory_table(found, DEVICES))
    yield _between("lengths", length_table(found))
    yield _between("pairs", _pairs(pairs))


def _pairs(pairs: Mapping[tuple[str, str], Pair]) -> list[list[str]]:
    titles = [f"{one.count} x {one.gib:g} GiB" for one in PLACES]
    rows = [["student under teacher", "trained", *titles]]
    for (student, teacher), pair in pairs.items():
        found = [list(pair.ways(devices, Work())) for devices in PLACES]
        for is_lora in (False, True):
            cells = [_that_fit(one, devices, is_lora) for one, devices in zip(found, PLACES, strict=True)]
            rows.append([f"{student} under {teacher}", "LoRA" if is_lora else "all weights", *cells])
    return rows


def _that_fit(found: Sequence[Way], devices: Devices, is_lora: bool) -> str:
    """The engines that fit, with the teacher in the process, or else with a served one."""
    mine = [way for way in found if way.is_lora is is_lora]
    here = [way.engine.value for way in mine if way.peak <= devices.room]
    served = [way.engine.value for way in mine if way.served <= devices.room and way.engine.value not in here]
    parts = [", ".join(here), f"teacher served: {', '.join(served)}" if served else ""]
    return "; ".join(part for part in parts if part) or "none"


def _between(name: str, rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    line = "|" + "|".join("---" if column < 2 or name == "pairs" else "--:" for column in range(len(rows[0]))) + "|"
    return "\n".join([f"<!-- table: {name} -->", "", head, line, *body, "", f"<!-- end: {name} -->"])


def main() -> None:
    """Write the tables into the page."""
    page, made = ROOT / PAGE, list(tables())
    text = page.read_text(encoding="utf-8")
    for table in made:
        name = table.split()[2]
        text = re.sub(
            rf"<!-- table: {name} -->.*?<!-- end: {name} -->", lambda _, new=table: new, text, flags=re.DOTALL
        )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
