"""The gap recovery rate: how much of the way from its start to its teacher a student has gone."""

import numpy as np

from crossdistill.errors import InputError
from crossdistill.eval.comparison.difference import Difference, paired_difference
from crossdistill.eval.comparison.resampling import percentiles, resampled_means
from crossdistill.eval.comparison.significance import SIGNIFICANCE
from crossdistill.eval.interval import Estimate


def has_headroom(headroom: Difference) -> bool:
    """Whether the teacher is better than the start beyond the paired interval and by the test.

    If few problems tell the two apart the bootstrap's interval is too narrow: if the teacher has four of thirty more
    right, and none less, it leaves out 0, though the exact p-value is 0.125.

    Args:
        headroom: teacher minus start.
    """
    return headroom.low > 0 and headroom.p_value < SIGNIFICANCE


def gap_recovery(student: np.ndarray, start: np.ndarray, teacher: np.ndarray) -> Estimate:
    """(student - start) / (teacher - start), with its interval by a joint bootstrap over problems.

    1 is the teacher's accuracy, 0 the start's; a student that is better than its teacher has more than 1, one that
    became worse less than 0. In a resample in which the teacher is not better than the start the rate is unbounded, and
    counts as infinite with the sign of the gain: fewer than one in 40, or the rate would have been refused.

    Args:
        student: float [problems], the share of right samples of each problem.
        start: the same of the student before training, in the same order of problems.
        teacher: the same of the teacher.

    Raises:
        InputError: the teacher is not better than the start beyond the paired interval and with p < 0.05.

    Example:
        >>> start, teacher = np.zeros(8), np.ones(8)
        >>> gap_recovery(np.array([1.0, 1.0, 0.0, 0.0] * 2), start, teacher).mean
        0.5
    """
    headroom = paired_difference(teacher, start)
    if not has_headroom(headroom):
        raise InputError(
            f"there is no headroom: teacher minus start is {headroom.mean:+.3f} ({headroom.low:+.3f} to "
            f"{headroom.high:+.3f}; p = {headroom.p_value:.3g}), so there is no gap to recover: take harder problems, "
            "more of them, or a better teacher."
        )
    resampled = resampled_means(np.stack([student - start, teacher - start], axis=1))
    gains, gaps = resampled.T
    rates = np.where(gaps > 0, gains / np.where(gaps > 0, gaps, 1.0), np.copysign(np.inf, gains))
    rate = float((student - start).mean()) / headroom.mean
    return Estimate(rate, *percentiles(rates), len(student))
