"""The rate that a method is compared at."""

from itertools import permutations

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Answers, Outcome
from crossdistill.arena.tuning import chosen_rate


def run(rate, mean, status="done", stage="tune"):
    answers = None if mean is None else Answers(mean, (0.0, 1.0), "01", 1, "digest", 1.0, 0.0, 5.0)
    return Outcome(Cell("sums", "dpca", stage, rate, 100), "rules", status, validation=answers)


def test_highest_accuracy_in_any_order():
    runs = [run(1e-4, 0.2), run(3e-4, 0.9), run(1e-3, 0.5)]
    assert {chosen_rate(order) for order in permutations(runs)} == {3e-4}


def test_the_lower_of_equals_in_any_order():
    runs = [run(1e-4, 0.2), run(3e-4, 0.9), run(1e-3, 0.9)]
    assert {chosen_rate(order) for order in permutations(runs)} == {3e-4}


def test_what_is_not_done_is_never_chosen():
    assert chosen_rate([run(1e-4, 0.2), run(3e-4, 0.9, "diverged"), run(1e-3, 0.8, "failed")]) == 1e-4
    assert chosen_rate([run(1e-4, None, "failed"), run(3e-4, None, "diverged")]) is None
    assert chosen_rate([]) is None


def test_a_rate_without_a_right_answer_is_a_rate():
    assert chosen_rate([run(1e-3, 0.0), run(3e-4, 0.0)]) == 3e-4


def test_the_compared_runs_do_not_choose():
    assert chosen_rate([run(1e-4, 0.2), run(3e-4, 0.9, stage="test")]) == 1e-4
    assert chosen_rate([run(3e-4, 0.9, stage="test")]) is None
