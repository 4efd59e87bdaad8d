"""Direction, scale, noise and resting point of every objective on languages that can be enumerated.

OMP_NUM_THREADS=1 python -m benchmarks.gradient_direction --output benchmarks/results/gradient_direction.json

The target is the reverse KL from the student's texts to the teacher's, its gradient exact. An objective's gradient is
its exact expectation over everything that the student may write. docs/causes.md explains the figures, and
benchmarks/causes/demo.py measures the demo's pair.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.causes.language import VOCABULARIES
from benchmarks.causes.methods import labels
from benchmarks.causes.toy import agreements, descents, directions
from crossdistill.runs.run_file import write_json

DISTANCE = 0.5
"""Standard deviation of the noise between the logits of a student's next letter and those of its teacher."""


def show(title: str, methods: dict[str, Any], figures: list[str]) -> Table:
    """Mean and 95 % interval of some figures."""
    table = Table("method", *figures, title=title)
    for name, row in methods.items():
        cells = (row.get(figure) for figure in figures)
        table.add_row(name, *("" if cell is None else "{:.3g} ({:.3g}, {:.3g})".format(*cell) for cell in cells))
    return table


def main(
    output: Annotated[Path, typer.Option(help="The JSON file; cells that it has are not repeated.")],
    number: Annotated[int, typer.Option(help="Random pairs for directions.")] = 30,
    num_descents: Annotated[int, typer.Option(help="Random pairs for descents.")] = 3,
    longest: Annotated[int, typer.Option(help="Bytes of the longest text.")] = 4,
    steps: Annotated[int, typer.Option(help="Of a descent.")] = 100,
    names: Annotated[str, typer.Option(help="Methods, by semicolons; by default all.")] = "",
) -> None:
    """Measure all methods on all kinds of pairs."""
    console = Console(width=200)
    chosen = [name.strip() for name in names.split(";") if name.strip()] or labels()
    found: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    found["command"] = f"OMP_NUM_THREADS={threads} python -m benchmarks.gradient_direction {' '.join(sys.argv[1:])}"
    found["settings"] = {"pairs": number, "descents": num_descents, "longest": longest, "steps": steps}
    found["settings"]["distance"] = DISTANCE
    cells = [("directions", kind, False) for kind in VOCABULARIES]
    cells += [("agreement", kind, False) for kind in VOCABULARIES]
    cells += [("descents", kind, False) for kind in VOCABULARIES]
    cells += [("directions", kind, True) for kind in ("same", "coarser")]
    for part, kind, free in cells:
        key, began = f"{kind}, spells freely" if free else kind, time.perf_counter()
        if key in found.setdefault(part, {}):
            continue
        if part == "directions":
            methods = directions(kind, DISTANCE, number, longest, chosen, free)
            columns = ["cosine", "cosine_batch", "norm_ratio", "noise", "supervised", "step_falls", "sign_step_falls"]
        elif part == "agreement":
            methods = agreements(kind, DISTANCE, number, longest, chosen)
            columns = ["gradient_at_agreement"]
        else:
            methods = descents(kind, DISTANCE, num_descents, longest, chosen, steps)
            columns = ["start_kl", "final_kl", "highest_kl", "from_agreement_kl", "bytes_over_teacher"]
        found[part][key] = {"methods": methods, "seconds": time.perf_counter() - began}
        write_json(output, found)
        console.print(show(f"{part}: {key}", methods, columns))


if __name__ == "__main__":
    typer.run(main)
