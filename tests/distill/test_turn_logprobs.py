"""What an engine said of its samples finds its turn, or nothing is said."""

import numpy as np
import pytest

from crossdistill.distill.rollout import Rollout
from crossdistill.distill.turn_logprobs import TurnLogprobs

ROLLOUT = Rollout.of(["One, two, "], [[1, 2]], [[5, 6, 7]])


def kept(num_tokens: int, num_stops: int) -> TurnLogprobs:
    record = TurnLogprobs()
    record.record([[1, 2]], [-np.arange(1.0, num_tokens + 1)], [-np.arange(11.0, num_stops + 11)])
    return record


@pytest.mark.parametrize("length", [3, 5])
def test_a_turn_gets_one_number_for_each_of_its_tokens(length):
    """It may have been cut after it was sampled."""
    found = kept(length, length).take(ROLLOUT, [2])
    assert found is not None
    assert [row.tolist() for row in found.tokens] == [[-1, -2, -3]]
    assert found.stops == [-13]


@pytest.mark.parametrize("lengths", [(1, 1), (0, 0), (2, 3), (3, 2)])
@pytest.mark.parametrize("stop", [None, 2])
def test_nothing_is_said_if_a_token_of_a_turn_has_no_number(lengths, stop):
    assert kept(*lengths).take(ROLLOUT, [stop]) is None
