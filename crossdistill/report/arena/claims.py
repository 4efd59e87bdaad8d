"""The table of claims: what was said of two methods, and what each pair says to it."""

from crossdistill.report.arena.tables import TONES, Content, Line, Table
from crossdistill.report.format import MISSING


def claims_table(content: Content) -> Table:
    """A row for each claim and pair that has both methods. Differences are in points of accuracy.

    Args:
        content: of ``arena.json``.
    """
    lines = [
        Line((*named, verdict["pair"], *_figures(verdict)), TONES.get(verdict["verdict"], ""))
        for claim in content["claims"]
        for named, verdict in zip(_names(claim), claim["verdicts"], strict=True)
    ]
    return Table("claims", ("claim", "difference of", "pair", "points", "95 %", "p", "verdict"), lines, [])


def _names(claim: Content) -> list[tuple[str, str]]:
    """The claim and the two that it names, once, before its first pair."""
    once = claim["claim"], f"{claim['better']} − {claim['worse']}"
    return [once if not number else ("", "") for number in range(len(claim["verdicts"]))]


def _figures(verdict: Content) -> tuple[str, ...]:
    """The difference in points, its interval, the corrected p-value, and the verdict."""
    found = verdict["difference"]
    if found is None:
        return MISSING, MISSING, MISSING, verdict["verdict"]
    p_value = verdict["corrected_p_value"]
    low, high = map(_points, found["ci"])
    shown = "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
    return _points(found["mean"]), f"{low} to {high}", shown, verdict["verdict"]


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
