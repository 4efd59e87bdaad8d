"""The tables of docs/causes.md, as Markdown.

python -m benchmarks.causes.tables benchmarks/results/gradient_direction.json \
    benchmarks/results/gradient_direction_demo.json
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.causes.drift import KINDS

Cell = list[float] | None


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def with_interval(cell: Cell, digits: int = 2) -> str:
    """Mean and interval, or nothing."""
    if cell is None or cell[0] is None:
        return ""
    return f"{cell[0]:.{digits}f} ({cell[1]:.{digits}f}, {cell[2]:.{digits}f})"


def by_kind(cells: dict[str, Any], figure: str, digits: int = 2) -> str:
    """A figure of each method, a column for each kind of pair."""
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell["methods"]))
    rows = [
        [name, *(with_interval(cell["methods"].get(name, {}).get(figure), digits) for cell in cells.values())]
        for name in names
    ]
    return markdown(["method", *cells], [row for row in rows if any(row[1:])])


def first_batches(found: dict[str, Any]) -> str:
    """Of the demo's pair: cosine with dpca and bpm, norms and noise."""
    cosines = ("cosine_with_dpca", "cosine_with_bpm, reverse", "cosine_of_halves")
    figures = (*cosines, "norm_of_a_batch", "noise_over_signal")
    rows = [
        [name, *("" if row[figure] is None else f"{row[figure]:.2f}" for figure in figures)]
        for name, row in sorted(found["methods"].items(), key=lambda item: -item[1]["cosine_with_dpca"])
    ]
    header = [
        "method",
        "cosine with dpca",
        "with bpm, reverse",
        "of its two halves",
        "norm of a batch",
        "noise / signal",
    ]
    return markdown(header, rows)


def runs(found: dict[str, Any]) -> str:
    """Exact match, ends, length and surprisal of each run's last check, below those of the start."""
    checks = {"start": found["start"]} | {key: run["checks"][-1] for key, run in found["runs"].items()}
    rows = [
        [
            key,
            f"{100 * check['exact_match']:.0f}",
            f"{check['greedy_stop_rate']:.2f}",
            f"{check['greedy_tokens']:.1f}",
            *(f"{check['surprisal'][kind]:.3f}" for kind in KINDS),
            f"{check['off_shared']['student']:.3f}",
        ]
        for key, check in checks.items()
    ]
    header = ["run", "exact match", "stop rate", "tokens", *KINDS, "off shared"]
    return markdown(header, rows)


def main(toy: Annotated[Path, typer.Argument()], demo: Annotated[Path, typer.Argument()]) -> None:
    """Print all tables."""
    ours, theirs = (json.loads(path.read_text()) for path in (toy, demo))
    for figure, digits in (("cosine", 2), ("cosine_batch", 2), ("norm_ratio", 2), ("noise", 2), ("supervised", 2)):
        print(f"\n## {figure}\n\n{by_kind(ours['directions'], figure, digits)}")
    for figure in ("gradient_at_agreement", "start_kl", "final_kl", "highest_kl", "from_agreement_kl"):
        print(f"\n## {figure}\n\n{by_kind(ours['descents'], figure, 3)}")
    print(f"\n## first batches\n\n{first_batches(theirs['first_batches'])}\n\n## runs\n\n{runs(theirs)}")


if __name__ == "__main__":
    typer.run(main)
