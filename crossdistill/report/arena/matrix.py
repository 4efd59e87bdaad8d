"""Who wins against whom on a pair."""

from dataclasses import dataclass

from crossdistill.report.arena.tables import Content, rows_of
from crossdistill.report.comparison.rows import p_value, points

_SIGNS = {"win": "▲", "loss": "▼", "tie": ""}
_BLANK = {"not run": "·", "failed": "×", "no test": "–"}
_TONES = {"win": "rise", "loss": "fall"}
_MIRRORED = {"win": "loss", "loss": "win"}


@dataclass(frozen=True)
class Square:
    """A row's method against a column's.

    Attributes:
        text: the difference in points, with a sign for a win or loss; empty on the diagonal.
        tone: "rise", "fall" or "quiet".
        title: the verdict in words.
    """

    text: str = ""
    tone: str = "quiet"
    title: str = ""


def matrix(content: Content, pair: str) -> list[tuple[str, list[Square]]]:
    """Each method and control of a pair against each: the name of the row, and its squares by the order of the rows.

    What cannot be run is left out.
    """
    rows = [row for kind in ("method", "control") for row in rows_of(content, pair, kind)]
    names = [row["method"] for row in rows if row["status"] == "done" or row["command"] is not None]
    known = {}
    for verdict in content["verdicts"]:
        if verdict["pair"] == pair:
            known[verdict["first"], verdict["second"]] = _square(verdict, verdict["verdict"], 1)
            ruling = _MIRRORED.get(verdict["verdict"], verdict["verdict"])
            known[verdict["second"], verdict["first"]] = _square(verdict, ruling, -1)
    return [(first, [known.get((first, second), Square()) for second in names]) for first in names]


def _square(verdict: Content, ruling: str, sign: int) -> Square:
    if verdict["difference"] is None:
        return Square(_BLANK[ruling], "quiet", f"{ruling}: {verdict['reason']}")
    gain = points(sign * verdict["difference"]["mean"])
    title = f"{ruling}: {gain} points, p {p_value(verdict['corrected_p_value'])}"
    text = gain if ruling == "tie" else gain.lstrip("+−")
    return Square(f"{_SIGNS[ruling]}{text}", _TONES.get(ruling, "quiet"), title)
