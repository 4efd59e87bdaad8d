"""Each method on one pair of models against itself on another one with the same problems, such as from another start.

    python -m benchmarks.arena.across_pairs CELLS.jsonl smollm2-under-gemma3 smollm2-cold-under-gemma3

The interval and the p-value are those of the arena's verdicts; there is no noise floor, and no correction.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.arena.compared_runs import ComparedRuns, read_runs
from crossdistill.errors import InputError
from crossdistill.eval.comparison.crossed import CrossedDifference, crossed_difference


def differences(
    runs: Sequence[ComparedRuns], first: str, second: str
) -> Iterator[tuple[str, float, float, CrossedDifference]]:
    """Method, its accuracy on the first and on the second pair, and the difference of the two, by the seeds of both.

    Args:
        runs: of an arena.
        first, second: pairs whose tasks have the same problems.

    Raises:
        InputError: no method was run on both, the problems differ, or fewer than two seeds are common.
    """
    ours, theirs = ({one.method: one for one in runs if one.pair == pair} for pair in (first, second))
    shared = [method for method in ours if method in theirs]
    if not shared:
        pairs = ", ".join(dict.fromkeys(one.pair for one in runs))
        raise InputError(f"no method was run on both {first} and {second}: choose two of {pairs}.")
    for method in shared:
        one, other = ours[method], theirs[method]
        seeds = sorted({*one.outcomes} & {*other.outcomes})
        if one.problems != other.problems:
            raise InputError(f"{first} and {second} have other test problems: choose pairs of one task.")
        if len(seeds) < 2:
            raise InputError(f"{method} has {len(seeds)} seed(s) on both {first} and {second}: run two or more.")
        shares = one.shares(seeds), other.shares(seeds)
        yield method, float(shares[0].mean()), float(shares[1].mean()), crossed_difference(*shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path, help="cells.jsonl of an arena")
    parser.add_argument("first")
    parser.add_argument("second")
    given = parser.parse_args()
    try:
        rows = list(differences(read_runs(given.cells), given.first, given.second))
    except InputError as error:
        sys.exit(f"Error: {error}")
    print(f"| | {given.first} | {given.second} | difference, points | p |\n|---|--:|--:|---|--:|")
    for method, one, other, found in rows:
        shown = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
        print(f"| `{method}` | {one:.1%} | {other:.1%} | {shown} | {found.p_value:.2g} |")


if __name__ == "__main__":
    main()
