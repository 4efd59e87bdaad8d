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
from benchmarks.causes.language import VOCABULARIES

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
    kinds = [*(kind for kind in VOCABULARIES if kind in cells), *(kind for kind in cells if kind not in VOCABULARIES)]
    names = list(dict.fromkeys(name for kind in kinds for name in cells[kind]["methods"]))
    rows = [
        [name, *(with_interval(cells[kind]["methods"].get(name, {}).get(figure), digits) for kind in kinds)]
        for name in names
    ]
    return markdown(["method", *kinds], [row for row in rows if any(row[1:])])


def first_batches(found: dict[str, Any]) -> str:
    """Of the demo's pair: cosines, norms and noise, by the cosine with bpm in its reverse form."""
    cosines = ("cosine_with_bpm, reverse", "cosine_with_dpca", "cosine_of_halves")
    figures = (*cosines, "norm_of_a_batch", "noise_over_signal")
    rows = [
        [name, *("" if row[figure] is None else f"{row[figure]:.2f}" for figure in figures)]
        for name, row in sorted(found["methods"].items(), key=lambda item: -item[1][cosines[0]])
    ]
    header = ["method", "cosine with bpm, reverse", "with dpca", "of its halves", "norm of a batch", "noise / signal"]
    return markdown(header, rows)


def runs(found: dict[str, Any]) -> str:
    """Exact match, ends, length and surprisal at each check of each run, below those of the start."""
    rows = [("start", 0, found["start"])]
    rows += [(key, check["step"], check) for key, run in found["runs"].items() for check in run["checks"]]
    header = ["run", "steps", "exact match", "stop rate", "tokens", *KINDS, "off shared"]
    cells = [
        [
            key.replace(" | ", ", "),
            str(step),
            f"{100 * check['exact_match']:.0f}",
            f"{check['greedy_stop_rate']:.2f}",
            f"{check['greedy_tokens']:.1f}",
            *(f"{check['surprisal'][kind]:.3f}" for kind in KINDS),
            f"{check['off_shared']['student']:.3f}",
        ]
        for key, step, check in rows
    ]
    return markdown(header, cells)


def main(toy: Annotated[Path, typer.Argument()], demo: Annotated[Path, typer.Argument()]) -> None:
    """Print all tables."""
    ours, theirs = (json.loads(path.read_text()) for path in (toy, demo))
    for figure in ("cosine", "cosine_forward", "cosine_batch", "norm_ratio", "noise", "supervised", "step_falls"):
        print(f"\n## {figure}\n\n{by_kind(ours['directions'], figure)}")
    print(f"\n## gradient at agreement\n\n{by_kind(ours['agreement'], 'gradient_at_agreement')}")
    for figure in ("start_kl", "final_kl", "highest_kl", "from_agreement_kl", "bytes_over_teacher"):
        print(f"\n## {figure}\n\n{by_kind(ours['descents'], figure, 3)}")
    print(f"\n## first batches\n\n{first_batches(theirs['first_batches'])}\n\n## runs\n\n{runs(theirs)}")


if __name__ == "__main__":
    typer.run(main)
