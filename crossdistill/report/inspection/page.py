"""An inspected pair as one HTML file that loads nothing and runs no script."""

import math
from pathlib import Path
from typing import Any

from crossdistill.files import write_text
from crossdistill.inspection.advice import general_advice
from crossdistill.inspection.pair import Inspection
from crossdistill.report.format import display
from crossdistill.report.html import environment
from crossdistill.report.inspection.rows import (
    MAX_EXAMPLES,
    chunk_example,
    counted_token,
    histogram,
    overlap_rows,
    rewrite,
    side_rows,
    summary_rows,
)
from crossdistill.report.inspection.verdict import verdict

_SIZE = 8
_NUM_SHADES = 5


def write_inspection_page(path: str | Path, pair: Inspection) -> None:
    """Write the page of an inspected pair as one self-contained file, atomically.

    Raises:
        InputError: jinja2 is not installed.
    """
    write_text(path, environment().get_template("inspection.html.j2").render(_context(pair)))


def _context(pair: Inspection) -> dict[str, Any]:
    names = pair.overlap.by_string
    sides = zip(side_rows(pair.student), side_rows(pair.teacher), strict=True)
    rewrites = [("student", pair.student_rewrites), ("teacher", pair.teacher_rewrites)]
    labels = [*map(str, range(1, _SIZE)), f"{_SIZE}+"]
    return {
        "pair": pair,
        "verdict": verdict(pair),
        "sides": [(name, ours, theirs) for (name, ours), (_, theirs) in sides],
        "findings": pair.findings,
        "shared": overlap_rows(pair.overlap),
        "names": names,
        "missed": [] if names is None else [display(piece) for piece in names.missed_examples],
        "summary": summary_rows(pair),
        "categories": [*pair.categories.items(), ("all", pair.total)],
        "labels": labels,
        "histogram": list(zip(labels, _shaded(histogram(pair.total, _SIZE)), strict=True)),
        "largest": [chunk_example(example) for example in pair.largest],
        "never_one_to_one": [counted_token(token) for token in pair.never_one_to_one[:MAX_EXAMPLES]],
        "rewritten": [(side, rewrite(example)) for side, examples in rewrites for example in examples[:MAX_EXAMPLES]],
        "objectives": [(entry.objective, entry.reason) for entry in pair.advice],
        "general": general_advice(pair.total, pair.overlap),
    }


def _shaded(counts: list[list[int]]) -> list[list[tuple[int, int]]]:
    """Each count with a shade from 0 (none) to 5 (the most), by its logarithm."""
    most = math.log1p(max(map(max, counts)))
    return [
        [(number, math.ceil(_NUM_SHADES * math.log1p(number) / most) if number else 0) for number in row]
        for row in counts
    ]
