import math

import pytest

from crossdistill.eval.interval import Mean, Proportion, _t_quantile, mean_interval, wilson


# Newcombe 1998, table I: Wilson's score interval without continuity correction
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert estimate.mean == successes / n
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


def test_wilson_by_hand() -> None:
    # z^2 = 3.8415, p = 1/2, n = 4: centre 1/2, half width = z / (2 sqrt(n + z^2)) = 1.95996 / (2 * 2.80027)
    estimate = wilson(2, 4)
    assert estimate.low == pytest.approx(0.5 - 0.349959, abs=1e-5)
    assert estimate.high == pytest.approx(0.5 + 0.349959, abs=1e-5)


def test_wilson_at_the_edges_is_exact_and_symmetric() -> None:
    nothing, everything = wilson(0, 10), wilson(10, 10)
    assert (nothing.mean, nothing.low) == (0.0, 0.0)
    assert (everything.mean, everything.high) == (1.0, 1.0)
    assert nothing.high == pytest.approx(3.841459 / 13.841459)  # z^2 / (n + z^2)
    assert everything.low == pytest.approx(1 - nothing.high)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_invalid_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="have no proportion"):
        wilson(successes, n)


# tables of Student's t, upper 2.5 %
@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_t_quantile(degrees: int, quantile: float) -> None:
    assert _t_quantile(degrees) == pytest.approx(quantile, rel=1.5e-3 if degrees < 5 else 2e-4)


def test_mean_interval_by_hand() -> None:
    # mean 2, standard deviation 1, t(2) = 4.30265: 2 +- 4.30265 / sqrt(3)
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert (estimate.mean, estimate.n) == (2.0, 3)
    assert estimate.high == pytest.approx(2 + 2.484138, abs=1e-4)
    assert estimate.low == pytest.approx(2 - 2.484138, abs=1e-4)


def test_degenerate_means() -> None:
    assert mean_interval([0.5] * 4) == Mean(0.5, 0.5, 0.5, 4)
    assert mean_interval([0.5]) == Mean(0.5, -math.inf, math.inf, 1)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_as_dict_is_what_the_run_file_holds() -> None:
    assert Proportion(0.5, 0.25, 0.75, 8).as_dict() == {"mean": 0.5, "ci": [0.25, 0.75], "n": 8}
    assert mean_interval([0.5]).as_dict() == {"mean": 0.5, "ci": None, "n": 1}
