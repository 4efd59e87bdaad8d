"""The table of an evaluation in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from crossdistill.report.format import MISSING, count, duration, model_name, percent

_FIGURES = ("samples", "avg@k", "95 % interval", "pass@k", "parsed", "cut", "tokens", "time")


def print_evaluation(console: Console, evaluation: Mapping[str, Any]) -> None:
    """Print the scores of an evaluation, a task a line.

    Args:
        console: where.
        evaluation: the content of ``eval.json``.

    Example:
        >>> share = {"mean": 0.5, "ci": [0.25, 0.75], "n": 12}
        >>> metrics = dict.fromkeys(("avg@k", "pass@1", "parsed", "truncated"), share)
        >>> metrics["mean_tokens"] = {"mean": 19.0}
        >>> task = {"sampling": {"k": 1}, "num_problems": 12, "metrics": metrics, "seconds": 61.0}
        >>> print_evaluation(Console(width=100), {"model": "/models/tiny", "tasks": {"sums": task}})
        tiny
        task  samples   avg@1  95 % interval  pass@1  parsed     cut  tokens        time
        sums   12 × 1  50.0 %  25.0 - 75.0 %  50.0 %  50.0 %  50.0 %      19  1 min 01 s
    """
    sizes = {int(entry["sampling"]["k"]) for entry in evaluation["tasks"].values()}
    k = str(sizes.pop()) if len(sizes) == 1 else "k"
    table = Table(box=None, title=model_name(str(evaluation["model"])), title_justify="left", pad_edge=False)
    table.add_column("task", overflow="fold")  # the end of a name may tell it from others
    for name in _FIGURES:
        table.add_column(name.replace("@k", f"@{k}"), justify="right", no_wrap=True)
    for task, entry in evaluation["tasks"].items():
        table.add_row(task, *_cells(entry))
    console.print(table)


def _cells(entry: Mapping[str, Any]) -> list[str]:
    metrics, k = entry["metrics"], entry["sampling"]["k"]
    ci = metrics["avg@k"]["ci"]
    return [
        f"{entry['num_problems']:,} × {k}",
        percent(metrics["avg@k"]["mean"]),
        MISSING if ci is None else f"{percent(ci[0]).removesuffix(' %')} - {percent(ci[1])}",
        percent(metrics[f"pass@{k}"]["mean"]),
        percent(metrics["parsed"]["mean"]),
        percent(metrics["truncated"]["mean"]),
        count(metrics["mean_tokens"]["mean"]),
        duration(entry["seconds"]),
    ]
