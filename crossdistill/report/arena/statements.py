"""What the arena's figures mean, in sentences, and what it lacks."""

from collections.abc import Iterator
from dataclasses import dataclass

from crossdistill.report.arena.tables import MODELS, Content, is_left_out, rows_of
from crossdistill.report.comparison.rows import p_value, points, share
from crossdistill.report.format import count, model_name

EDGE = "↓ ↑: the rate is the lowest or highest that was tried, so a better one may lie beyond."


@dataclass(frozen=True)
class Lack:
    """Something that has no result.

    Attributes:
        name: a method, control or model.
        status: "not run", "partial", "failed" or "diverged".
        reason: why.
        command: that runs it; None if it cannot be run.
    """

    name: str
    status: str
    reason: str
    command: str | None


def about(pair: Content) -> str:
    """What was compared on a pair, and whether there was anything to gain."""
    said = [f"Student {model_name(pair['student'])}, teacher {model_name(pair['teacher'])}."]
    if pair["num_problems"] is not None:
        samples = "one sample" if pair["k"] == 1 else f"{pair['k']} samples"
        said.append(f"{count(pair['num_problems'])} test problems, {samples} of each.")
    return " ".join([*said, _headroom(pair)])


def explained(content: Content, pair: Content) -> list[str]:
    """How the figures of a pair's table are to be read."""
    said = ["Accuracy: mean over seeds with Student's t interval. gap: share of the way from start to teacher."]
    left_out = [row["method"] for row in content["rows"] if row["pair"] == pair["pair"] and is_left_out(row)]
    if left_out:
        said.append(f"Not entered on this pair: {', '.join(left_out)}.")
    rows = [row for kind in ("method", "control") for row in rows_of(content, pair["pair"], kind)]
    if any(row["edge"] in ("lowest", "highest") for row in rows):
        said.append(EDGE)
    verdicts = [verdict for verdict in content["verdicts"] if verdict["pair"] == pair["pair"]]
    for reason in dict.fromkeys(verdict["reason"] for verdict in verdicts if verdict["verdict"] == "no test"):
        said.append(f"no test: {reason}, so there is no verdict.")
    if pair["noise_floor"] is not None:
        num_compared = sum(verdict["difference"] is not None for verdict in verdicts)
        said.append(
            f"A win is beyond the noise floor, {share(pair['noise_floor'])} points (the range of {pair['reference']} "
            "over its seeds), and has p < 0.05 over seeds and problems (min F'), by Holm for "
            f"{num_compared} comparisons."
        )
    return said


def lacks(content: Content, pair: Content) -> list[Lack]:
    """What a pair lacks: models, methods and controls that are not run, not whole, failed or diverged."""
    return [*_lacking_models(pair), *_lacking_rows(content, pair["pair"])]


def progress(content: Content) -> str:
    """How many cells there are in each state.

    Example:
        >>> progress({"cells": {"done": 90, "failed": 0, "diverged": 2, "missing": 8}})
        '100 cells: 90 done, 2 diverged, 8 missing'
    """
    cells = content["cells"]
    told = [f"{number} {state}" for state, number in cells.items() if number or state == "done"]
    return f"{sum(cells.values())} cells: {', '.join(told)}"


def _headroom(pair: Content) -> str:
    gap = pair["headroom"]
    if gap is None:
        return "Start and teacher have not both answered them, so it's not known what can be gained."
    low_high = "" if gap["ci"] is None else f"{points(gap['ci'][0])} to {points(gap['ci'][1])}; "
    shown = f"{points(gap['mean'])} points ({low_high}p {p_value(gap['p_value'])})"
    if not pair["has_headroom"]:
        return f"There is no headroom: teacher minus start is {shown}, so nothing can be gained here."
    return f"The teacher is {shown.removeprefix('+')} above the start."


def _lacking_models(pair: Content) -> Iterator[Lack]:
    for name in MODELS:
        model = pair["models"][name]
        if model["status"] != "done":
            yield Lack(name, model["status"], model["reason"] or "no reason was recorded", model["command"])


def _lacking_rows(content: Content, pair: str) -> Iterator[Lack]:
    for row in content["rows"]:
        if row["pair"] == pair and row["status"] != "done" and not is_left_out(row):
            yield Lack(row["method"], row["status"], row["reason"] or "no reason was recorded", row["command"])
