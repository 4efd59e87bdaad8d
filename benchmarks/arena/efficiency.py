"""How much SFT on the teacher's responses it takes to reach as far as distillation: measured, and extrapolated.

Both begin at the same start. The arena is run at several budgets, of which each has its own tuned rates:

    for steps in 6 24; do
        crossdistill arena benchmarks/arena/arena_cpu.toml --output runs/efficiency/$steps --only '*/seqkd/*' \\
            --set train.max_steps=$steps --set eval_every=$steps
    done
    python -m benchmarks.arena.efficiency benchmarks/results/arena_cpu_cells.jsonl runs/efficiency/*/cells.jsonl

The first file is arena A's, of 12 steps.

``measured`` is where SFT's accuracies, made monotone and interpolated in the logarithm of the data, reach that of the
distillation. ``extrapolated`` follows the line through SFT with half as many and with as many responses as the
distillation had. Both are multiples of the distillation's data and of its FLOPs.

Section 5.3 of Breaking the Tokenizer Barrier extrapolates from the two sizes of the SFT that made its start, and counts
the data beyond that start. Here all data are beyond the start, so its factor is not the same quantity, only the same
question.

Intervals are bootstrapped over problems and seeds at once. A draw has one seed less than there are, or the variance
between five would be a fifth too small; where seeds differ much, percentiles still cover less than 95 %.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from benchmarks.arena.compared_runs import ComparedRuns, read_runs
from crossdistill.errors import InputError
from crossdistill.eval.cost_fit import LogLine
from crossdistill.runs.run_file import write_json

SFT = "seqkd"
RESAMPLES = 2_000
_QUANTILES = (0.025, 0.975)
Multiples = tuple[float, float]
"""Data of SFT over those of the distillation, measured and extrapolated."""


@dataclass(frozen=True)
class Budget:
    """A method at one budget on a pair.

    Attributes:
        responses, flops: that it took, mean over seeds.
        shares: [seeds, problems], the share of right samples.
    """

    responses: float
    flops: float
    shares: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean over seeds and problems."""
        return float(self.shares.mean())


Budgets = Mapping[int, Budget]
"""Steps of training -> what was run with so many, ascending."""


def budgets_of(arenas: Sequence[Sequence[ComparedRuns]]) -> dict[tuple[str, str], Budgets]:
    """Several arenas by pair and method.

    Args:
        arenas: the compared runs of each.

    Raises:
        InputError: a method was run twice with the same number of steps, or budgets differ in seeds or problems.
    """
    by_name: dict[tuple[str, str], dict[int, ComparedRuns]] = defaultdict(dict)
    seeds: dict[str, tuple[set[int], set[str]]] = {}
    for runs in (runs for arena in arenas for runs in arena):
        name, known = f"{runs.method} on {runs.pair} with {runs.steps} steps", by_name[runs.pair, runs.method]
        if runs.steps in known:
            raise InputError(f"{name} is there twice: name each arena once.")
        known[runs.steps] = runs
        own = {*runs.outcomes}, runs.problems
        if own != seeds.setdefault(runs.pair, own):
            raise InputError(f"{name} has other seeds or problems than the rest: run what is missing of it.")
    return {
        key: {steps: Budget(runs.responses, runs.flops, runs.shares()) for steps, runs in sorted(known.items())}
        for key, known in by_name.items()
    }


def data_to_reach(counts: Sequence[float], accuracies: Sequence[float], reached: float) -> float:
    """The amount of data at which a curve reaches an accuracy, linear in the data's logarithm between two points.

    The curve is made monotone first (isotonic regression), or a budget that chance has favoured would count as arrival.

    Args:
        counts: of data, ascending.
        accuracies: at each.
        reached: the accuracy.

    Returns:
        It; the first count if the curve begins above, and infinity if it does not get there.

    Example:
        >>> round(data_to_reach([100, 400], [0.2, 0.6], 0.4)), data_to_reach([100, 400], [0.2, 0.6], 0.7)
        (200, inf)
    """
    monotone = isotonic_regression(accuracies).x
    if monotone[0] >= reached:
        return float(counts[0])
    for (few, low), (many, high) in pairwise(zip(counts, monotone, strict=True)):
        if high >= reached:
            return float(few * (many / few) ** ((reached - low) / (high - low)))
    return math.inf


def compare(sft: Budgets, steps: int, opd: Budget, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """One distillation against SFT on the teacher's responses.

    Args:
        sft: SFT's budgets; half as many steps as the distillation's and as many are among them.
        steps: of the distillation.
        opd: what it has shown.
        seed: of the bootstrap.
        resamples: likewise.

    Returns:
        The distillation's ``responses``, ``flops`` and ``accuracy``; ``measured`` and ``extrapolated``, each with
        ``data`` and ``flops`` as ``[value, low, high]``, in which None is "not reached"; and ``budgets``, the smallest
        and the largest of SFT as multiples of the distillation's data: a measured value at the first means "at most".
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([_multiples(*_resampled(sft, opd, rng), steps) for _ in range(resamples)])
    ends = np.quantile(drawn, _QUANTILES, axis=0, method="inverted_cdf")  # an end may be infinite
    rows = np.vstack([_multiples(sft, opd, steps), ends]).T  # [measured and extrapolated; value, low, high]
    counts, price = [one.responses for one in sft.values()], _price(sft, opd)
    return {
        "responses": opd.responses,
        "flops": opd.flops,
        "accuracy": opd.accuracy,
        "budgets": [round(counts[end] / opd.responses, 4) for end in (0, -1)],
        "flops_of_a_response": round(price, 4),
        **{
            name: {"data": _finite(row), "flops": _finite(price * row)}
            for name, row in zip(("measured", "extrapolated"), rows, strict=True)
        },
    }


def _price(sft: Budgets, opd: Budget) -> float:
    """FLOPs of a response of SFT, the teacher's writing included, over those of the distillation."""
    mean = sum(one.flops for one in sft.values()) / sum(one.responses for one in sft.values())
    return mean * opd.responses / opd.flops


def _multiples(sft: Budgets, opd: Budget, steps: int) -> Multiples:
    measured = data_to_reach(
        [one.responses for one in sft.values()], [one.accuracy for one in sft.values()], opd.accuracy
    )
    two = [sft[steps // 2], sft[steps]]
    line = LogLine.of([one.responses for one in two], [one.accuracy for one in two])
    return measured / opd.responses, line.needed(opd.accuracy) / opd.responses


def _resampled(sft: Budgets, opd: Budget, rng: np.random.Generator) -> tuple[dict[int, Budget], Budget]:
    """Other problems, the same for all, and other seeds, each budget its own."""
    problems = rng.integers(opd.shares.shape[1], size=opd.shares.shape[1])

    def drawn(one: Budget) -> Budget:
        seeds = rng.integers(len(one.shares), size=max(1, len(one.shares) - 1))
        return Budget(one.responses, one.flops, one.shares[np.ix_(seeds, problems)])

    return {steps: drawn(one) for steps, one in sft.items()}, drawn(opd)


def _finite(row: np.ndarray) -> list[float | None]:
    return [None if math.isinf(one) else round(float(one), 4) for one in row]


def comparisons(budgets: Mapping[tuple[str, str], Budgets], method: str) -> Iterator[dict[str, Any]]:
    """Each budget of a distillation that SFT was also run at, and at half of it.

    Raises:
        InputError: there is none.
    """
    found = [
        {"pair": pair, "method": method, "steps": steps, "seeds": len(opd.shares), **compare(sft, steps, opd)}
        for (pair, name), opds in budgets.items()
        for steps, opd in opds.items()
        if name == method and {steps, steps // 2} <= (sft := budgets.get((pair, SFT), {})).keys()
    ]
    if not found:
        raise InputError(f"no budget of {method} was also run with {SFT}, and half of it: name the arenas of both.")
    yield from found


def curves(budgets: Mapping[tuple[str, str], Budgets]) -> list[dict[str, Any]]:
    """The accuracy of each method at each budget."""
    return [
        {
            "pair": pair,
            "method": method,
            "steps": steps,
            "responses": one.responses,
            "flops": one.flops,
            "accuracy": one.accuracy,
            "by_seed": [round(float(share), 6) for share in one.shares.mean(axis=1)],
        }
        for (pair, method), found in budgets.items()
        for steps, one in found.items()
    ]


def markdown(content: Mapping[str, Any]) -> str:
    """The comparisons as a table, and below it the accuracies by steps."""
    lines = [
        "| pair | steps | accuracy | data, measured | FLOPs, measured | data, extrapolated |",
        "|---|--:|--:|---|---|---|",
    ]
    for row in content["comparisons"]:
        least, most = row["budgets"]
        price = row["flops_of_a_response"]
        shown = [
            _shown(row["measured"]["data"], least, most),
            _shown(row["measured"]["flops"], least * price, most * price),
            _shown(row["extrapolated"]["data"], 0.0, math.inf),
        ]
        lines.append(f"| {row['pair']} | {row['steps']} | {row['accuracy']:.1%} | {' | '.join(shown)} |")
    by_name: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for point in content["curves"]:
        by_name[point["pair"], point["method"]][point["steps"]] = point["accuracy"]
    counts = sorted({point["steps"] for point in content["curves"]})
    lines += ["", f"| steps | {' | '.join(map(str, counts))} |", "|---|" + "--:|" * len(counts)]
    for (pair, method), found in by_name.items():
        cells = (f"{100 * found[count]:.1f}" if count in found else "" for count in counts)
        lines.append(f"| {pair}, `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(row: Sequence[float | None], least: float, most: float) -> str:
    def shown(one: float | None) -> str:
        if one is None:
            return "never" if math.isinf(most) else f"> {most:.2g}"
        return f"≤ {least:.2g}" if one <= least * 1.001 else f"{one:.2g}"

    value, low, high = map(shown, row)
    return f"{value} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="cells.jsonl of the arenas")
    parser.add_argument("--method", default="dpca", help="the distillation")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    try:
        budgets = budgets_of([read_runs(file, (SFT, given.method)) for file in given.files])
        content = {"comparisons": list(comparisons(budgets, given.method)), "curves": curves(budgets)}
    except InputError as error:
        sys.exit(f"Error: {error}")
    print(markdown(content))
    if given.json is not None:
        write_json(given.json, content)


if __name__ == "__main__":
    main()
