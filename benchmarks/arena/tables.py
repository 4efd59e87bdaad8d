"""The tables of docs/arena-a.md from an arena's results: all pairs side by side, the claims, and the curves by rate.

python -m benchmarks.arena.tables benchmarks/results/arena_cpu.json
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdistill.report.arena.tables import ruling

Content = Mapping[str, Any]
_SIGNS = {"win": " ▲", "loss": " ▼"}


def tables(content: Content) -> str:
    """All tables as Markdown.

    Args:
        content: of ``arena.json``.
    """
    parts = ["## Accuracy", *_accuracy(content), "", "## Claims", *_claims(content), "", "## Curves by rate"]
    for pair in _pairs(content):
        parts += ["", f"### {pair}", "", *_rates(content, pair)]
    return "\n".join(parts) + "\n"


def _accuracy(content: Content) -> Iterator[str]:
    """A row for each method, the one with the highest mean over the pairs that all methods have first."""
    pairs, rows = _pairs(content), {(row["pair"], row["method"]): row for row in content["rows"]}
    yield ""
    yield from _head(["", *pairs])
    yield from _models(content, "start")
    for kind in ("method", "control"):
        if kind == "control":
            yield _line(["*controls*", *[""] * len(pairs)])
        names = dict.fromkeys(row["method"] for row in content["rows"] if row["kind"] == kind)
        for name in sorted(names, key=lambda name: -_mean(rows, pairs, name)):
            yield _line([name, *(_score(content, rows[pair, name]) for pair in pairs)])
    yield from _models(content, "teacher")


def _models(content: Content, model: str) -> Iterator[str]:
    means = [pair["models"][model].get("mean") for pair in content["pairs"]]
    yield _line([f"*{model}*", *("" if mean is None else _percent(mean) for mean in means)])


def _mean(rows: Mapping[tuple[str, str], Content], pairs: Sequence[str], name: str) -> float:
    found = [rows[pair, name]["mean"] for pair in pairs if rows[pair, name]["mean"] is not None]
    return sum(found) / len(found) if found else 0.0


def _score(content: Content, row: Content) -> str:
    """The mean over seeds, half of its interval, and whether it wins or loses against the reference."""
    if row["mean"] is None:
        return ""
    spread = "" if row["interval"] is None else f" ± {50 * (row['interval'][1] - row['interval'][0]):.1f}"
    seeds = "" if row["status"] == "done" else f" ({sum(run['status'] == 'done' for run in row['runs'])} seeds)"
    verdict = ruling(content, row["pair"], row["method"], content["rules"]["file"]["reference"])
    return _percent(row["mean"]) + spread + seeds + _SIGNS.get(verdict or "", "")


def _claims(content: Content) -> Iterator[str]:
    pairs = _pairs(content)
    yield ""
    yield from _head(["claim", "who says so", *pairs])
    for claim in content["claims"]:
        by_pair = {verdict["pair"]: verdict for verdict in claim["verdicts"]}
        names = f"{claim['claim']}: `{claim['better']}` − `{claim['worse']}`"
        yield _line([names, claim["source"] or "", *(_answer(by_pair.get(pair)) for pair in pairs)])


def _answer(verdict: Content | None) -> str:
    if verdict is None:
        return ""
    if verdict["difference"] is None:
        return str(verdict["verdict"])
    low, high = (100 * end for end in verdict["difference"]["ci"])
    return f"**{verdict['verdict']}** {100 * verdict['difference']['mean']:+.1f} ({low:+.1f} to {high:+.1f})"


def _rates(content: Content, pair: str) -> Iterator[str]:
    """Validation accuracy in percent at each point of the curve after the start; the chosen rate in bold."""
    yield from _head(["", *(f"{rate:g}" for rate in content["rules"]["file"]["rates"])])
    rows = [row for row in content["rows"] if row["pair"] == pair and any(run.get("curve") for run in row["tuning"])]
    for row in sorted(rows, key=lambda row: -(row["mean"] or 0.0)):
        yield _line([row["method"], *(_curve(run, run["rate"] == row["rate"]) for run in row["tuning"])])


def _curve(run: Content, is_chosen: bool) -> str:
    if run["status"] != "done":
        return str(run["status"])
    shown = " ".join(f"{100 * point['mean']:.0f}" for point in run["curve"][1:])
    return f"**{shown}**" if is_chosen else shown


def _pairs(content: Content) -> list[str]:
    return [pair["pair"] for pair in content["pairs"]]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _head(columns: Sequence[str]) -> Iterator[str]:
    yield _line(columns)
    yield _line(["---"] * len(columns))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
