"""Rows of a comparison: verdicts, the noise floor of seeds, recovery from the right start."""

import pytest

from crossdistill import InputError
from crossdistill.eval.comparison.agreement import check_agreement
from crossdistill.eval.comparison.comparison import compare
from crossdistill.eval.comparison.contender import Contender
from crossdistill.eval.comparison.outcomes import Outcomes
from crossdistill.eval.comparison.reach import Point
from tests.eval.comparison.factory import entry, verdicts


def outcomes(correct, name="model", **changed):
    return Outcomes.from_entry("sums", name, entry(correct, **changed), "eval.json")


def right(count, of=100):
    return {f"{number:03d}": [number < count] for number in range(of)}


def contender(name, *counts, **options):
    return Contender(name, tuple(outcomes(right(count), name) for count in counts), **options)


def rows(comparison):
    return {row.name: row for row in comparison.rows}


def test_better_worse_and_tie():
    found = rows(compare([contender(name, n) for name, n in [("a", 50), ("b", 70), ("c", 30), ("d", 52)]], "a"))
    assert {name: row.verdict for name, row in found.items()} == {"a": None, "b": "better", "c": "worse", "d": "tie"}
    assert found["b"].difference.mean == pytest.approx(0.2)
    assert found["a"].difference is None


def test_holm_counts_the_comparisons_with_the_baseline():
    """Eight problems against none: p = 2 / 2^8, in four comparisons; six: p = 0.031, not any more."""
    counts = [("a", 50), ("b", 58), ("c", 56), ("d", 50), ("e", 51)]
    found = rows(compare([contender(*each) for each in counts], "a"))
    assert found["b"].difference.p_value == pytest.approx(2 / 2**8)
    assert found["b"].corrected == pytest.approx(4 * 2 / 2**8)
    assert found["c"].difference.p_value < 0.05 < found["c"].corrected
    assert (found["b"].verdict, found["c"].verdict) == ("better", "tie")


def test_a_difference_within_the_range_of_the_seeds_is_a_tie():
    steady = contender("steady", 59, 60, 61)
    assert rows(compare([contender("a", 40), steady], "a"))["steady"].verdict == "better"
    wild = contender("wild", 41, 60, 79)
    found = rows(compare([contender("a", 40), wild], "a"))["wild"]
    assert found.corrected < 0.05
    assert found.verdict == "tie"
    assert rows(compare([wild, contender("a", 40)], "wild"))["a"].verdict == "tie"  # of the baseline's seeds too


def test_seeds_are_averaged_before_problems_are_compared():
    seeds = contender("seeds", 40, 50, 60)
    row = rows(compare([contender("a", 40), seeds], "a"))["seeds"]
    assert row.means == [0.4, 0.5, 0.6]
    assert row.accuracy.mean == pytest.approx(0.5)
    assert row.difference.n == 100  # problems, not seeds times problems


def test_seeds_that_agree_have_no_difference_to_one_of_them():
    """Averages over three runs and over one are equal in floating point, problem by problem."""
    three = Contender("three", tuple(outcomes(verdicts(0.5, k=7)) for _ in range(3)))
    one = Contender("one", (outcomes(verdicts(0.5, k=7)),))
    assert rows(compare([one, three], "one"))["three"].difference.p_value == 1.0


def test_recovery_is_from_the_students_own_start():
    start, teacher = outcomes(right(20)), contender("teacher", 80)
    trained = contender("trained", 50, start=start)
    found = rows(
        compare([Contender("start", (start,), start=start), contender("sft", 30), trained, teacher], "sft", "teacher")
    )
    assert found["trained"].recovery.mean == pytest.approx(0.5)
    assert [found[name].recovery for name in ("start", "sft", "teacher")] == [None, None, None]
    found = rows(compare([contender("base", 20), contender("sft", 35), teacher], "base", "teacher"))
    assert found["sft"].recovery.mean == pytest.approx(0.25)


def test_without_headroom_there_is_no_recovery():
    found = compare([contender("base", 50), contender("sft", 60), contender("teacher", 52)], "base", "teacher")
    assert not found.has_headroom
    assert found.headroom.mean == pytest.approx(0.02)
    assert [row.recovery for row in found.rows] == [None] * 3


def test_the_mean_curve_is_over_the_steps_that_all_seeds_have():
    curves = (
        tuple(
            Point(accuracy, (0, 1), {"step": step, "flops": 2.0}) for step, accuracy in [(0, 0.2), (10, 0.4), (20, 0.9)]
        ),
        tuple(Point(accuracy, (0, 1), {"step": step}) for step, accuracy in [(0, 0.3), (20, 0.7)]),
    )
    curve = contender("seeds", 50, 60, curves=curves).mean_curve
    assert [point.costs for point in curve] == [{"step": 0}, {"step": 20}]
    assert [point.accuracy for point in curve] == pytest.approx([0.25, 0.8])
    assert [point.ci for point in curve] == [(0.2, 0.3), (0.7, 0.9)]


def test_everything_is_json_data():
    found = compare([contender("a", 50), contender("b", 70), contender("t", 90)], "a", "t", [0.5]).as_dict()
    assert found["rows"][1]["difference"]["mean"] == pytest.approx(0.2)
    assert found["rows"][1]["gap_recovery"]["mean"] == pytest.approx(0.5)
    assert found["headroom"]["test"] == "McNemar's exact test"


# --- what may be compared


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"temperature": 0.6, "top_p": 0.95},
            r"sampled alike on 'sums': temperature \(0\.0 and 0\.6\), top_p \(1\.0 and",
        ),
        ({"max_tokens": 16}, r"max_tokens \(2048 and 16\)"),
        ({"system": "Be brief."}, r"system \(None and 'Be brief\.'\)"),
        ({"digest": "d1"}, "other problems of 'sums': the texts or answers themselves"),
    ],
)
def test_what_differs_is_named(changed, message):
    evaluations = [("a", outcomes(right(5))), ("b", outcomes(right(5), **changed))]
    with pytest.raises(InputError, match=rf"^a and b .*{message}.* Evaluate one of them again"):
        check_agreement(evaluations)


def test_another_number_of_samples_and_another_selection():
    one, two = outcomes(verdicts(0.5, k=1)), outcomes(verdicts(0.5, k=2))
    with pytest.raises(InputError, match=r"k \(1 and 2\)"):
        check_agreement([("a", one), ("b", two)])
    few = outcomes(right(5, of=50), digest="d1")
    with pytest.raises(InputError, match=r"num_problems \(100 and 50\)"):
        check_agreement([("a", outcomes(right(5))), ("b", few)])


@pytest.mark.parametrize("changed", [{"seed": 5}, {"template_kwargs": {"enable_thinking": False}}])
def test_what_belongs_to_a_model_or_to_chance_may_differ(changed):
    check_agreement([("a", outcomes(right(5))), ("b", outcomes(right(7), **changed))])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda task: task.pop("digest"), "lacks digest, sampling, k or per_problem"),
        (lambda task: task.update(per_problem=[1, 2]), "lacks digest, sampling, k or per_problem"),
        (lambda task: task.update(per_problem={}), "has no problem of the task 'sums'"),
        (lambda task: task["per_problem"].update({"003": [True, True]}), "problem '003' .* has not 1 verdicts"),
        (lambda task: task["per_problem"].update({"003": []}), "problem '003' .* has not 1 verdicts"),
        (lambda task: task["per_problem"].update({"003": ["yes"]}), "problem '003' .* has not 1 verdicts"),
    ],
)
def test_a_damaged_entry_is_refused(damage, message):
    task = entry(right(5))
    damage(task)
    with pytest.raises(InputError, match=rf"^eval\.json .*{message}.*: evaluate the model again"):
        Outcomes.from_entry("sums", "model", task, "eval.json")
