"""The arena's results as one HTML file that loads nothing and runs no script."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossdistill.files import write_text
from crossdistill.report.arena.charts import curve_charts, spark
from crossdistill.report.arena.claims import claims_table
from crossdistill.report.arena.matrix import matrix
from crossdistill.report.arena.statements import about, explained, lacks, progress
from crossdistill.report.arena.tables import (
    Content,
    costs_table,
    interval,
    overall_table,
    pair_table,
    rows_of,
    share_or_missing,
    side_effects_table,
)
from crossdistill.report.html import environment


def write_arena_page(path: str | Path, content: Content) -> None:
    """Write the page of an arena as one self-contained file, atomically.

    Args:
        path: of the file.
        content: of ``arena.json``.

    Raises:
        InputError: the extra ``report`` is not installed.
    """
    page = environment().get_template("arena.html.j2")
    rules = content["rules"]
    context = {
        "progress": progress(content),
        "overall": overall_table(content),
        "claims": claims_table(content),
        "pairs": [_pair(content, pair) for pair in content["pairs"]],
        "versions": {name: ", ".join(found) for name, found in rules["versions"].items()},
        "digest": rules["digest"],
        "file": json.dumps(rules["file"], indent=2, ensure_ascii=False),
    }
    write_text(path, page.render(context))


def _pair(content: Content, pair: Content) -> dict[str, Any]:
    name = pair["pair"]
    return {
        "name": name,
        "about": about(pair),
        "table": pair_table(content, pair),
        "explained": explained(content, pair),
        "spans": _spans(content, pair),
        "charts": curve_charts(content, name),
        "matrix": matrix(content, name),
        "costs": costs_table(content, name),
        "side_effects": side_effects_table(content, pair),
        "rates": content["rules"]["file"]["rates"],
        "tuning": list(_tuning(content, name)),
        "lacks": lacks(content, pair),
    }


def _spans(content: Content, pair: Content) -> dict[str, Any]:
    """What the plot of the means shows: its rows, the models as they are, and the range that holds all of them."""
    rows = [
        {
            "name": row["method"],
            "mean": row["mean"],
            "ends": row["interval"] or [row["mean"], row["mean"]],
            "shown": share_or_missing(row["mean"]),
            "interval": interval(row["interval"]) if row["interval"] else "one seed has no interval",
        }
        for kind in ("method", "control")
        for row in rows_of(content, pair["pair"], kind)
        if row["mean"] is not None
    ]
    models = {name: model["mean"] for name, model in pair["models"].items() if model["status"] == "done"}
    values = [*models.values(), *(end for row in rows for end in row["ends"])]
    return {"rows": rows, "models": models, "range": (min(values, default=0.0), max(values, default=1.0))}


def _tuning(content: Content, pair: str) -> Iterator[dict[str, Any]]:
    """Each method's curves by rate."""
    for kind in ("method", "control"):
        for row in rows_of(content, pair, kind):
            if row["status"] != "done" and row["command"] is None:
                continue  # it cannot be run
            yield {
                "name": row["method"],
                "runs": [
                    {
                        "line": spark(run.get("curve") or []),
                        "end": _end(run),
                        "reason": run.get("reason") or "",
                        "is_chosen": run["rate"] == row["rate"],
                    }
                    for run in row["tuning"]
                ],
            }


def _end(run: Content) -> str:
    if run["status"] != "done":
        return str(run["status"])
    return share_or_missing(run["validation"]["mean"])
