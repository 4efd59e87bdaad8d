"""Each method on one pair of models against itself on another one with the same problems, such as from another start.

    python -m benchmarks.arena.across_pairs CELLS.jsonl smollm2-under-gemma3 smollm2-cold-under-gemma3

The interval and the p-value are those of the arena's verdicts; there is no noise floor, and no correction.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.arena.efficiency import Budgets, read_budgets
from crossdistill.errors import InputError
from crossdistill.eval.comparison.crossed import CrossedDifference, crossed_difference


def differences(runs: Budgets, first: str, second: str) -> Iterator[tuple[str, float, float, CrossedDifference]]:
    """Method, its accuracy on the first and on the second pair, and the difference of the two.

    Args:
        runs: of an arena.
        first, second: pairs whose tasks have the same problems.

    Raises:
        InputError: a method was run at several budgets.
    """
    for (pair, method), budgets in runs.items():
        others = runs.get((second, method), [])
        if pair != first or not others:
            continue
        if len(budgets) + len(others) > 2:
            raise InputError(f"{method} was run with several numbers of responses: name the cells of one arena.")
        [one], [other] = budgets, others
        seeds = min(len(one.shares), len(other.shares))
        found = crossed_difference(one.shares[:seeds], other.shares[:seeds])
        yield method, one.accuracy, other.accuracy, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path, help="cells.jsonl of an arena")
    parser.add_argument("first")
    parser.add_argument("second")
    given = parser.parse_args()
    print(f"| | {given.first} | {given.second} | difference, points | p |\n|---|--:|--:|---|--:|")
    for method, one, other, found in differences(read_budgets([given.cells]), given.first, given.second):
        shown = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
        print(f"| `{method}` | {one:.1%} | {other:.1%} | {shown} | {found.p_value:.2g} |")


if __name__ == "__main__":
    main()
