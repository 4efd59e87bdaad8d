"""How often tests tell two methods apart, equally good ones and others, by simulation: the figures of docs/arena.md.

    python benchmarks/verdict_level.py [TRIALS]

A method's run with a seed is right on a problem with log-odds ``base + hardness[problem] + suits[method, problem] +
luck[method, seed]``, normal with standard deviations 1.5, ``by method`` and ``by seed``. The second table is of methods
that differ by some points, with 5 seeds of 400 problems; its columns are p-values that Holm's correction may ask for.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.stats import ttest_1samp

from crossdistill.eval.comparison.crossed import crossed_difference

SETTINGS = [
    # seeds, problems, base, by method, by seed
    (5, 100, 0.0, 0.0, 0.0),
    (5, 100, 0.0, 1.0, 0.0),
    (5, 100, 0.0, 0.0, 0.5),
    (5, 100, 0.0, 1.0, 0.3),
    (5, 400, 2.5, 0.7, 0.5),
    (5, 30, 3.5, 0.5, 0.3),
    (3, 100, 0.0, 0.7, 0.3),
    (2, 100, 0.0, 0.7, 0.3),
]


def pair_of_methods(
    random: np.random.Generator, seeds: int, problems: int, base: float, by_method: float, by_seed: float
) -> Iterator[np.ndarray]:
    """Two methods that are equally good over all seeds and problems that could be drawn: float64 [seeds, problems]."""
    hardness = random.normal(0, 1.5, problems)
    for _ in range(2):
        odds = base + hardness + random.normal(0, by_method, problems) + random.normal(0, by_seed, (seeds, 1))
        yield (random.random((seeds, problems)) < 1 / (1 + np.exp(-odds))).astype(float)


GAINS, SEED_SPREADS, BOUNDS = (0.02, 0.05, 0.1), (0.01, 0.03), (0.05, 0.05 / 15, 0.05 / 105)


def better_and_worse(random: np.random.Generator, gain: float, spread: float) -> Iterator[np.ndarray]:
    """A method of about 80 % and one that is better by `gain`; their seeds vary by `spread`."""
    hardness = random.normal(0, 1.5, 400)
    for accuracy in (0.8 + gain, 0.8):
        levels = np.clip(accuracy + random.normal(0, spread, (5, 1)), 0.01, 0.99)
        # the mean over hardness of a logistic curve whose slope it flattens by about 1.34
        odds = 1.34 * np.log(levels / (1 - levels)) + hardness + random.normal(0, 0.5, 400)
        yield (random.random((5, 400)) < 1 / (1 + np.exp(-odds))).astype(float)


def t_test(values: np.ndarray) -> float:
    """Student's paired test; 1 if all differences are equal, of which it can't say anything."""
    return 1.0 if np.ptp(values) < 1e-12 else float(ttest_1samp(values, 0).pvalue)


TESTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "ours": lambda first, second: crossed_difference(first, second).p_value,
    "over problems alone": lambda first, second: t_test((first - second).mean(axis=0)),
    "over seeds alone": lambda first, second: t_test((first - second).mean(axis=1)),
    "all as independent": lambda first, second: t_test((first - second).ravel()),
}


def main(num_trials: int) -> None:
    """Print two Markdown tables."""
    heads = ("seeds", "problems", "log-odds", "by method", "by seed", *TESTS)
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for setting in SETTINGS:
        random = np.random.default_rng(0)
        drawn = [tuple(pair_of_methods(random, *setting)) for _ in range(num_trials)]
        shares = [np.mean([test(*methods) < 0.05 for methods in drawn]) for test in TESTS.values()]
        print("| " + " | ".join([*map(str, setting), *(f"{share:.1%}" for share in shares)]) + " |", flush=True)

    heads = ("points", "seeds vary by", "mean difference", *(f"p < {bound:.2g}" for bound in BOUNDS))
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for gain, spread in product(GAINS, SEED_SPREADS):
        random = np.random.default_rng(0)
        found = [crossed_difference(*better_and_worse(random, gain, spread)) for _ in range(num_trials)]
        shares = [np.mean([difference.p_value < bound for difference in found]) for bound in BOUNDS]
        mean = np.mean([difference.mean for difference in found])
        cells = (f"{gain:.0%}", f"{spread:.0%}", f"{mean:.1%}", *(f"{share:.0%}" for share in shares))
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
