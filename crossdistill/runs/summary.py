"""The last lines of a run: what it has come to, what it cost, and where its files are."""

from collections.abc import Iterator, Mapping
from typing import Any

from crossdistill.report.format import count, duration, percent, si
from crossdistill.runs.folder import RunFolder


def summary(run: Mapping[str, Any], folder: RunFolder) -> Iterator[str]:
    """Lines about a finished run.

    Args:
        run: the content of its ``run.json``.
        folder: of the run.
    """
    results = [*_gap(run), *_coverage(run)]
    if results:
        yield ", ".join(results)
    for task, curve in run.get("accuracy", {}).items():
        if curve:
            yield f"{task} {percent(curve[0]['mean'])} -> {percent(curve[-1]['mean'])}{_interval(curve[-1], 100, 1)}"
    yield _cost(run)
    report = f"   report: {folder.report}" if folder.report.exists() else ""
    yield f"model: {folder.model}   figures: {folder.run}{report}"


def _gap(run: Mapping[str, Any]) -> Iterator[str]:
    """The teacher gap (of SFT the loss) before and after, on held-out rows if there are any, else in training."""
    ends = run.get("metrics", {})
    if all(ends.get(end, {}).get("mean") is not None for end in ("before", "after")):
        before, after = ends["before"], ends["after"]
        what, unit = ("held-out loss", "") if "loss" in run["metric"] else ("gap", " nats/B")
        yield f"{what} {before['mean']:.4f} -> {after['mean']:.4f}{unit}{_interval(after, 1, 4)}"
        return
    logged = [entry["teacher_gap"] for entry in run["history"] if entry.get("teacher_gap") is not None]
    if logged:
        yield f"gap in training {logged[0]:.4f} -> {logged[-1]:.4f} nats/B"
        return
    losses = [entry["loss"] for entry in run["history"] if entry.get("loss") is not None]
    if losses:
        yield f"loss {losses[0]:.4f} -> {losses[-1]:.4f}"


def _coverage(run: Mapping[str, Any]) -> Iterator[str]:
    coverage = run.get("coverage", {})
    if coverage.get("sampled_bytes"):
        yield f"coverage {percent(coverage['supervised_bytes'] / coverage['sampled_bytes'])}"


def _cost(run: Mapping[str, Any]) -> str:
    trained = run["tokens"].get("student_step", run["tokens"].get("sft_step", 0))
    flops, seconds = run["flops"]["total"], run["seconds"]
    return f"{count(trained)} tokens trained on, {si(flops)}FLOP, {duration(seconds)} of training"


def _interval(entry: Mapping[str, Any], scale: int, digits: int) -> str:
    if not entry.get("ci"):
        return ""
    low, high = (scale * end for end in entry["ci"])
    return f" ({low:.{digits}f}-{high:.{digits}f})"
