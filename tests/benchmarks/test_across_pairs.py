"""A method on two pairs with the same problems."""


import numpy as np
import pytest

from benchmarks.arena.across_pairs import differences
from benchmarks.arena.efficiency import Budget
from crossdistill.errors import InputError
from crossdistill.eval.comparison.crossed import crossed_difference

RIGHT = np.array([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
WRONG = np.zeros((3, 4))


def test_methods_of_both_pairs_are_compared():
    """By the seeds that both have; a method of one pair is left out."""
    runs = {
        ("warm", "dpca"): [Budget(8, 1.0, RIGHT)],
        ("cold", "dpca"): [Budget(8, 1.0, WRONG)],
        ("warm", "strict"): [Budget(8, 1.0, RIGHT)],
        ("cold", "bpm"): [Budget(8, 1.0, RIGHT)],
    }
    [(method, warm, cold, found)] = differences(runs, "warm", "cold")
    assert (method, warm, cold) == ("dpca", 0.75, 0.0)
    assert found == crossed_difference(RIGHT, WRONG[:2])


def test_several_budgets_are_refused():
    runs = {
        ("warm", "dpca"): [Budget(8, 1.0, RIGHT), Budget(16, 1.0, RIGHT)],
        ("cold", "dpca"): [Budget(8, 1.0, WRONG)],
    }
    with pytest.raises(InputError, match="dpca was run with several numbers of responses: name the cells of one arena"):
        list(differences(runs, "warm", "cold"))
