import pytest

from crossdistill.integrations.async_trl.pace import Pace


@pytest.mark.parametrize("max_staleness", [0, 1, 3])
@pytest.mark.parametrize("steps_per_version", [1, 2])
@pytest.mark.parametrize("first_step", [0, 3])
def test_no_sample_that_it_allows_is_too_old_when_it_is_trained_on(max_staleness, steps_per_version, first_step):
    """The trainer as a loop: each step takes the next samples, and every so many steps the weights are sent."""
    pace = Pace(4, max_staleness, steps_per_version, first_step, first_version=1)
    version, sampled, oldest = 1, [], 0
    for step in range(first_step, first_step + 12):
        while pace.allows(len(sampled), version):
            sampled.append(version)
        own = sampled[4 * (step - first_step) :][:4]
        assert len(own) == 4, "the trainer would wait for ever"
        oldest = max(oldest, *(version - one for one in own))
        version += (step + 1) % steps_per_version == 0
    assert oldest == max_staleness


def test_a_portion_ends_with_its_step():
    pace = Pace(4, 0)
    assert [pace.until_end_of_step(number) for number in (0, 1, 3, 4)] == [4, 3, 1, 4]
