"""Methods over all pairs: mean rank, mean gap recovery, and wins, ties and losses against the reference."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

_MIRRORED = {"win": "loss", "loss": "win"}
_BROKEN = ("failed", "diverged")


def overall_of(
    rows: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]], reference: str
) -> list[dict[str, Any]]:
    """One entry for each method and control.

    Ranks are among the methods of a pair, 1 is the highest mean, and equals share their mean rank. Those that failed or
    diverged share the last ranks, since a method would gain by failing on the pairs that are hard; those that are not
    run are not ranked. Controls have no rank.

    Args:
        rows: of ``arena.json``.
        verdicts: likewise.
        reference: name of the method that the others are held against.

    Returns:
        In the order of the rows: ``method``, ``kind``, ``num_pairs``, ``num_done``, ``num_failed``, ``mean_rank`` and
        the number of pairs it is over, ``num_ranked``, ``mean_gap_recovery`` and likewise ``num_recovered``, and
        ``against_reference``, the number of pairs by verdict; None for the reference itself.

    Example:
        >>> rows = [
        ...     {"method": name, "kind": "method", "pair": "sums", "status": "done", "mean": mean, "gap_recovery": None}
        ...     for name, mean in [("dpca", 0.5), ("bpm", 0.75)]
        ... ]
        >>> [(entry["method"], entry["mean_rank"]) for entry in overall_of(rows, [], "dpca")]
        [('dpca', 2.0), ('bpm', 1.0)]
    """
    ranks = list(_ranks(rows))
    return [
        _entry(name, [row for row in rows if row["method"] == name], ranks, verdicts, reference)
        for name in dict.fromkeys(row["method"] for row in rows)
    ]


def _entry(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    ranks: Sequence[tuple[str, float]],
    verdicts: Sequence[Mapping[str, Any]],
    reference: str,
) -> dict[str, Any]:
    done = [row for row in rows if row["status"] == "done"]
    ranked = [rank for method, rank in ranks if method == name]
    recovered = [row["gap_recovery"]["mean"] for row in done if row["gap_recovery"] is not None]
    return {
        "method": name,
        "kind": rows[0]["kind"],
        "num_pairs": len(rows),
        "num_done": len(done),
        "num_failed": sum(row["status"] in _BROKEN for row in rows),
        "mean_rank": fmean(ranked) if ranked else None,
        "num_ranked": len(ranked),
        "mean_gap_recovery": fmean(recovered) if recovered else None,
        "num_recovered": len(recovered),
        "against_reference": None if name == reference else _against(name, verdicts, reference),
    }


def _against(name: str, verdicts: Sequence[Mapping[str, Any]], reference: str) -> dict[str, int]:
    counted = Counter(
        verdict["verdict"] if verdict["first"] == name else _MIRRORED.get(verdict["verdict"], verdict["verdict"])
        for verdict in verdicts
        if {verdict["first"], verdict["second"]} == {name, reference}
    )
    return {ruling: counted[ruling] for ruling in ("win", "tie", "loss", "not run", "failed", "no test")}


def _ranks(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Method and rank, once for each pair."""
    from scipy.stats import rankdata

    for pair in dict.fromkeys(row["pair"] for row in rows):
        finished = [
            row
            for row in rows
            if row["pair"] == pair and row["kind"] == "method" and row["status"] in ("done", *_BROKEN)
        ]
        heights = [row["mean"] if row["status"] == "done" else float("-inf") for row in finished]
        ranks = rankdata([-height for height in heights])
        yield from zip((row["method"] for row in finished), map(float, ranks), strict=True)
