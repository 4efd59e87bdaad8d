"""The bootstrap over problems (Efron 1979): intervals for anything that is computed from means."""

import numpy as np

from crossdistill.eval.interval import CONFIDENCE

NUM_RESAMPLES = 10_000
_BATCH = 500
_SEED = 0  # the same runs have the same intervals each time


def resampled_means(values: np.ndarray) -> np.ndarray:
    """Means over problems that are drawn with replacement, as many as there are.

    Several columns share the draws, so that what is computed from their means is a paired or joint bootstrap.

    Args:
        values: float [problems, columns].

    Returns:
        float64 [NUM_RESAMPLES, columns].

    Example:
        >>> resampled_means(np.array([[0.0, 1.0], [1.0, 0.0]])).sum(axis=1).tolist() == [1.0] * NUM_RESAMPLES
        True
    """
    num_problems = len(values)
    random = np.random.default_rng(_SEED)
    batches = (random.integers(num_problems, size=(_BATCH, num_problems)) for _ in range(NUM_RESAMPLES // _BATCH))
    return np.concatenate([values[drawn].mean(axis=1) for drawn in batches])


def percentiles(resampled: np.ndarray) -> tuple[float, float]:
    """The ends of the 95 % percentile interval.

    Args:
        resampled: float [resamples]; may hold infinities, which is why no two values are interpolated.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
