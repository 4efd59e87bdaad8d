"""The difference of two models on the same problems."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.eval.comparison.resampling import percentiles, resampled_means
from crossdistill.eval.comparison.significance import mcnemar, wilcoxon
from crossdistill.eval.interval import Estimate

MCNEMAR = "McNemar's exact test"
WILCOXON = "Wilcoxon's signed-rank test"


@dataclass(frozen=True)
class Difference(Estimate):
    """The mean difference over problems, with its interval by the paired bootstrap.

    Attributes:
        p_value: two-sided, of `test`, for models that are equally good.
        test: its name.
    """

    p_value: float
    test: str

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {**super().as_dict(), "p_value": self.p_value, "test": self.test}


def paired_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """`first` minus `second`, problem by problem.

    The unit is the problem: several samples of one are averaged before. If every average is 0 or 1, as with one sample
    of each problem, the test is McNemar's, else Wilcoxon's.

    Args:
        first: float [problems], the share of right samples of each problem.
        second: the same of the other model, in the same order of problems.

    Returns:
        The difference. Its interval has width 0 if all problems differ alike; so it does if none does, which says that
        these problems do not tell the models apart, and not that the models are equal.

    Raises:
        ValueError: there are no problems, or other numbers of them.

    Example:
        >>> found = paired_difference(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 0.0]))
        >>> found.mean, found.p_value, found.test
        (0.5, 0.5, "McNemar's exact test")
    """
    if first.shape != second.shape or len(first) == 0:
        raise ValueError(f"{first.shape} and {second.shape} are no pairs")
    differences = first - second
    low, high = percentiles(resampled_means(differences[:, None])[:, 0])
    if np.isin([first, second], (0, 1)).all():
        p_value, test = mcnemar(first == 1, second == 1), MCNEMAR
    else:
        p_value, test = wilcoxon(differences), WILCOXON
    return Difference(float(differences.mean()), low, high, len(first), p_value, test)
