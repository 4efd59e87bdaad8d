"""Writes the tables of docs/scaling.md and benchmarks/results/scaling.json.

python -m benchmarks.scaling.tables
"""

from pathlib import Path
from typing import Any

from benchmarks.scaling.studies import RESULTS, Rows, everything
from crossdistill.runs.run_file import write_json

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
LENGTH = "tokens a response"
PARTS = {"teacher s": "teacher_seconds", "training s": "training_seconds", "step s": "step_seconds"}


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def paper(rows: Rows) -> str:
    head = ["GPUs", LENGTH, "staleness", "train / sample / teach", *PARTS, "slowest", "tokens/s", "hours", "GPU-hours"]
    return table(head, [_of_paper(row) for row in rows])


def _of_paper(row: dict[str, Any]) -> list[str]:
    shared = f"{row['trainer']} / {row['rollout']} / {row['teacher']}"
    seconds = [f"{row[part]:.0f}" for part in PARTS.values()]
    speed = [row["slowest"], f"{row['tokens_per_second']:,.0f}"]
    hours = [f"{row['hours']:.1f}", f"{row['gpu_hours']:.0f}"]
    return [str(row["gpus"]), f"{row['response_tokens']:,}", str(row["staleness"]), shared, *seconds, *speed, *hours]


def teachers(rows: Rows) -> str:
    size = ["weights GiB", "GPUs of a replica", "one replica: s"]
    head = ["teacher", LENGTH, *size, "training s", "step s", "replicas", "teacher GPUs", "cache GiB"]
    return table(head, [_of_teacher(row) for row in rows])


def _of_teacher(row: dict[str, Any]) -> list[str]:
    seconds = [f"{row[part]:.0f}" for part in PARTS.values()]
    size = [f"{row['gib']:.0f}", str(row["gpus_of_replica"])]
    needed = [str(row["replicas"]), str(row["teacher_gpus"]), f"{row['cache_gib']:.1f}"]
    return [row["teacher"], f"{row['response_tokens']:,}", *size, *seconds, *needed]


def traffic(rows: Rows) -> str:
    head = [LENGTH, "top k", *rows[0]["bytes"], "in all"]
    moved = [[*map(_bytes, row["bytes"].values()), _bytes(row["total"])] for row in rows]
    firsts = [[f"{row['response_tokens']:,}", row["top_k"]] for row in rows]
    return table(head, [[*first, *rest] for first, rest in zip(firsts, moved, strict=True)])


def sensitivity(rows: Rows) -> str:
    values = [[f"{row[name]:.0f}" for name in ("half", "usual", "double")] for row in rows]
    named = [[row["assumption"], *own] for row, own in zip(rows, values, strict=True)]
    return table(["assumption", "half", "as assumed", "double"], named)


def host(rows: Rows) -> str:
    shown = [[f"{row['response_tokens']:,}", f"{row['tokens_per_second']:,.0f}", f"{row['cores']:.2f}"] for row in rows]
    return table([LENGTH, "tokens/s", "cores"], shown)


def fits(rows: Rows) -> str:
    shown = [[row["student"], f"{row['state_gb']:.0f}", row["gpus"], f"{row['seconds']:.0f}"] for row in rows]
    return table(["student", "state of the training GB", "fewest GPUs", "training s with them"], shown)


RENDERED = {
    "paper": paper,
    "teachers": teachers,
    "traffic": traffic,
    "sensitivity": sensitivity,
    "host": host,
    "fits": fits,
}
"""Name of a study -> its table."""


def filled(page: str, tables: dict[str, str]) -> str:
    """The page with each table between its two marks.

    Raises:
        ValueError: the page has no place for a table.
    """
    for name, text in tables.items():
        begin, end = f"<!-- table: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        if not found or end not in rest:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = f"{before}{begin}\n{text}\n\n{end}{rest.split(end, 1)[1]}"
    return page


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def main() -> None:
    """Compute all studies, and write them."""
    found = everything()
    write_json(RESULTS / "scaling.json", {"command": "python -m benchmarks.scaling.tables", **found})
    tables = {name: render(found[name]) for name, render in RENDERED.items()}
    PAGE.write_text(filled(PAGE.read_text(), tables))


if __name__ == "__main__":
    main()
