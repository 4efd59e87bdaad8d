"""What the samples of a task say of a model, with intervals over problems.

Several samples of one problem are not independent, so the unit is the problem: its samples are averaged, and the
interval is over problems. Averages of 0 and 1 alone get Wilson's score interval. Others are bootstrapped over problems,
bias-corrected and accelerated (BCa; Efron 1987): benchmarks have as few as 30 problems, most of which a model either
nearly always or nearly never solves, and a normal interval around such averages is too short and can leave [0, 1].
So is a bootstrapped one if nearly all averages are the same, and Wilson's is taken then as well.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import comb
from statistics import fmean
from typing import Any

from crossdistill.eval.interval import CONFIDENCE, Estimate, Mean, mean_interval, wilson
from crossdistill.eval.sample import Sample

RESAMPLES = 9_999
_FEW = 5
_BATCH = 500  # resamples at once, which bounds the memory
_SEED = 0  # of the resampling: the same samples have the same interval

BySample = Mapping[str, Sequence[Sample]]
"""The samples of each problem by its id, in the order of their indices; as many for each."""


def scores(samples: BySample) -> dict[str, Estimate]:
    """The metrics of a task.

    Args:
        samples: of each problem; the same number k for each.

    Returns:
        ``avg@k``; ``pass@1``, ``pass@2``, ``pass@4`` ... up to k; ``parsed``, ``truncated`` and ``empty``, shares of
        the samples; ``mean_tokens``, the mean length of a response. All are means over problems.

    Raises:
        ValueError: there are no samples, or not as many for each problem.

    Example:
        >>> right, wrong = (Sample("0", 0, "4", "stop", 2, 0.1, correct=one, extracted="4") for one in (True, False))
        >>> found = scores({"0": [right], "1": [wrong], "2": [right], "3": [right]})
        >>> found["avg@k"].mean, found["pass@1"].mean, found["parsed"].mean, found["mean_tokens"].mean
        (0.75, 0.75, 1.0, 2.0)
    """
    counts = {len(of_problem) for of_problem in samples.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"each problem needs as many samples as the others, not {sorted(counts)}")
    k = counts.pop()
    right = [sum(sample.correct for sample in of_problem) for of_problem in samples.values()]
    shares = {
        "parsed": lambda sample: sample.extracted is not None,
        "truncated": lambda sample: sample.is_truncated,
        "empty": lambda sample: not sample.response.strip(),
    }
    return {
        "avg@k": share_interval([count / k for count in right]),
        **{f"pass@{j}": share_interval([pass_at(j, k, count) for count in right]) for j in sizes(k)},
        **{
            name: share_interval([fmean(map(holds, of_problem)) for of_problem in samples.values()])
            for name, holds in shares.items()
        },
        "mean_tokens": _length_interval([fmean(one.tokens for one in of_problem) for of_problem in samples.values()]),
    }


def sizes(k: int) -> list[int]:
    """The numbers of samples for which pass@j is told: powers of two below k, and k.

    Example:
        >>> sizes(8), sizes(6)
        ([1, 2, 4, 8], [1, 2, 4, 6])
    """
    return [*takewhile(lambda j: j < k, (2**power for power in range(k))), k]


def pass_at(j: int, k: int, right: int) -> float:
    """Probability that at least one of j samples is right, from k samples of a problem: unbiased (Chen et al. 2021).

    Args:
        j: samples of which one must be right; at most k.
        k: samples of the problem.
        right: number of right ones among them.

    Example:
        >>> pass_at(1, 4, 1), pass_at(2, 4, 1), pass_at(4, 4, 1)
        (0.25, 0.5, 1.0)
    """
    return 1 - comb(k - right, j) / comb(k, j)


def share_interval(values: Sequence[float]) -> Estimate:
    """The mean over problems of shares between 0 and 1, with its 95 % interval.

    Zeros and ones have Wilson's interval, and so have shares of which nearly all are equal: resampling hardly varies
    them. It holds for any shares, because none of the same mean vary more than zeros and ones.

    Args:
        values: the share of each problem.

    Raises:
        ValueError: there are no values.

    Example:
        >>> estimate = share_interval([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
        >>> estimate == wilson(8, 10)
        True
        >>> estimate = share_interval([0.0, 0.25, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0])
        >>> f"{estimate.mean:.2f} [{estimate.low:.1f}, {estimate.high:.1f}]"
        '0.56 [0.3, 0.8]'
    """
    num_others = len(values) - max(Counter(values).values(), default=0)  # than the most frequent share
    if set(values) <= {0.0, 1.0} or num_others < _FEW:
        return wilson(sum(values), len(values))
    return _bootstrapped(values)


def as_metrics(found: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """The ``metrics`` of ``eval.json``."""
    return {name: estimate.as_dict() for name, estimate in found.items()}


def _length_interval(values: Sequence[float]) -> Estimate:
    return mean_interval(values) if len(set(values)) == 1 else _bootstrapped(values)


def _bootstrapped(values: Sequence[float]) -> Mean:
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Mean(fmean(values), float(found.low), float(found.high), len(values))
