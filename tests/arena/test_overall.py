"""Methods over all pairs."""

from itertools import product

import pytest

from crossdistill.arena.overall import overall_of
from tests.oracles.arena import average_rank


def row(method, pair, mean, status="done", kind="method", recovery=None):
    gap = None if recovery is None else {"mean": recovery}
    return {"method": method, "pair": pair, "mean": mean, "status": status, "kind": kind, "gap_recovery": gap}


def entry(rows, method, verdicts=(), reference="a"):
    return next(found for found in overall_of(rows, verdicts, reference) if found["method"] == method)


@pytest.mark.parametrize("means", list(product((0.2, 0.5), repeat=4)))
def test_ranks(means):
    rows = [row(name, "fine", mean) for name, mean in zip("abcd", means, strict=True)]
    found = [found["mean_rank"] for found in overall_of(rows, [], "a")]
    assert found == [average_rank(means, index) for index in range(4)]


def test_ranks_are_averaged_over_the_pairs_that_were_run():
    rows = [
        *(row("a", "one", 0.9), row("b", "one", 0.5), row("c", "one", 0.4)),
        *(row("a", "two", 0.5), row("b", "two", 0.9), row("c", "two", None, "not run")),
        *(row("a", "three", 0.9), row("b", "three", 0.4, "partial"), row("c", "three", None, "not run")),
    ]
    assert [(entry(rows, name)["mean_rank"], entry(rows, name)["num_ranked"]) for name in "abc"] == [
        (pytest.approx(4 / 3), 3),
        (1.5, 2),
        (3.0, 1),
    ]
    assert [entry(rows, name)["num_done"] for name in "abc"] == [3, 2, 1]


def test_who_fails_is_last_and_gains_nothing_by_it():
    rows = [
        row("a", "one", 0.9),
        row("b", "one", None, "failed"),
        row("c", "one", 0.1),
        row("d", "one", 0.95, "diverged"),
    ]
    assert [entry(rows, name)["mean_rank"] for name in "abcd"] == [1.0, 3.5, 2.0, 3.5]
    assert entry(rows, "b")["num_failed"] == 1


def test_controls_have_no_rank_and_take_none():
    rows = [row("a", "one", 0.5), row("sft", "one", 0.9, kind="control")]
    assert (entry(rows, "a")["mean_rank"], entry(rows, "sft")["mean_rank"]) == (1.0, None)


def test_gap_recovery_is_over_the_pairs_that_are_done_and_have_headroom():
    rows = [
        row("a", "one", 0.5, recovery=0.5),
        row("a", "two", 0.5, recovery=1.0),
        row("a", "three", 0.5),
        row("a", "four", 0.9, "partial", recovery=0.0),
    ]
    assert (entry(rows, "a")["mean_gap_recovery"], entry(rows, "a")["num_recovered"]) == (0.75, 2)


def test_verdicts_against_the_reference_are_read_from_either_side():
    rulings = [("a", "b", "win"), ("b", "a", "win"), ("b", "a", "tie"), ("a", "b", "not run"), ("b", "c", "win")]
    verdicts = [{"first": first, "second": second, "verdict": ruling} for first, second, ruling in rulings]
    rows = [row("a", "one", 0.5), row("b", "one", 0.4)]
    assert entry(rows, "b", verdicts)["against_reference"] == {
        **{"win": 1, "tie": 1, "loss": 1, "not run": 1, "failed": 0, "no test": 0}
    }
    assert entry(rows, "a", verdicts)["against_reference"] is None


def test_nothing_is_run():
    rows = [row("a", "one", None, "not run")]
    assert entry(rows, "a")["mean_rank"] is None
    assert entry(rows, "a")["mean_gap_recovery"] is None
    assert overall_of([], [], "a") == []
