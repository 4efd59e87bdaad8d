"""Writes the tables and the figure of the recipe."""

from pathlib import Path
from typing import Any

from crossdistill.eval.interval import Estimate
from crossdistill.files import write_text
from crossdistill.report.cost.page import as_dict
from crossdistill.runs.run_file import write_json
from recipes.paper.compute import Compute
from recipes.paper.figure import figure_2
from recipes.paper.published import SOURCE, published
from recipes.paper.scores import Scores
from recipes.paper.settings import Settings
from recipes.paper.tables import table_1, table_2, table_3

INTERVALS = (
    'Rows named "here" have 95 % intervals: over seeds (Student\'s t) if a method has several, given the one SFT model '
    "that they start from; else over problems, which says nothing of another training."
)


def write_report(settings: Settings, folder: Path) -> list[Path]:
    """Write ``tables.md``, ``tables.json`` and ``figure2.svg``.

    Args:
        settings: of the recipe.
        folder: to write.

    Returns:
        The files.

    Raises:
        InputError: evaluations are of other problems or were sampled otherwise, or a file is damaged.
    """
    scores, compute = Scores.read(settings), Compute.read(settings)
    shown = compute.written or compute.given
    tables = [*table_1(settings, scores), table_2(compute), table_3(scores)]
    notes = [SOURCE, INTERVALS, *compute.notes, *(shown.notes if shown else ())]
    blocks = [f"## {table.title}\n\n{table.markdown}" for table in tables]
    blocks += ["## Figure 2\n\n![figure 2](figure2.svg)", "\n".join(f"- {note}" for note in notes)]
    paths = [folder / name for name in ("tables.md", "tables.json", "figure2.svg")]
    write_text(paths[0], "\n\n".join(blocks) + "\n")
    write_json(paths[1], {"scores": _scores(scores), "compute": _compute(compute), "notes": notes})
    write_text(paths[2], figure_2(shown))
    return paths


def _scores(scores: Scores) -> dict[str, Any]:
    benchmarks = published().benchmarks
    columns = {**{name: (name,) for name in benchmarks}, "average": benchmarks}
    return {
        f"{pair}/{method}": {
            "seeds": len(runs),
            **{name: _plain(scores.score(pair, method, tasks)) for name, tasks in columns.items()},
            "gain": {name: _plain(scores.gain(pair, "sft", method, tasks)) for name, tasks in columns.items()},
        }
        for (pair, method), runs in scores.evaluations.items()
    }


def _compute(compute: Compute) -> dict[str, Any]:
    found = {"responses_written": compute.written, "responses_given": compute.given}
    return {name: None if report is None else as_dict(report) for name, report in found.items()}


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else found.as_dict()
