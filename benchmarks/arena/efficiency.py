"""How much SFT on the teacher's responses it takes to reach as far as distillation: measured, and extrapolated.

Both begin at the same start. The arena is run at several budgets, of which each has its own tuned rates:

    for steps in 3 6 12 24 48 96; do
        crossdistill arena benchmarks/arena/arena_cpu.toml --output runs/efficiency/$steps --only '*/seqkd/*' \\
            --only '*/dpca/*' --set train.max_steps=$steps --set eval_every=$steps
    done
    python -m benchmarks.arena.efficiency runs/efficiency/*/cells.jsonl

``measured`` interpolates SFT's accuracies in the logarithm of the data, and says at which amount SFT first reaches that
of the distillation. ``extrapolated`` follows the line through SFT with half as many and with as many responses as the
distillation had, as section 5.3 of Breaking the Tokenizer Barrier does from its two checkpoints. Both are given as a
multiple of the distillation's data and of its FLOPs. Intervals are bootstrapped over seeds and problems at once.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from crossdistill.arena.outcome import Outcome
from crossdistill.errors import InputError
from crossdistill.eval.cost_fit import LogLine
from crossdistill.runs.run_file import write_json

SFT = "seqkd"
RESAMPLES = 2_000
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Budget:
    """A method at one budget on a pair.

    Attributes:
        responses: that it was trained on.
        flops: mean over seeds.
        shares: [seeds, problems], the share of right samples.
    """

    responses: int
    flops: float
    shares: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean over seeds and problems."""
        return float(self.shares.mean())


Budgets = Mapping[tuple[str, str], Sequence[Budget]]
"""(pair, method) -> its budgets, the smallest first."""


def read_budgets(files: Iterable[Path]) -> dict[tuple[str, str], list[Budget]]:
    """The compared runs of several arenas.

    Args:
        files: their ``cells.jsonl``.

    Raises:
        InputError: two files have the same run.
    """
    runs: dict[tuple[str, str, int], dict[int, Outcome]] = defaultdict(dict)
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            outcome = Outcome.from_dict(json.loads(line), str(file))
            cell = outcome.cell
            if cell.stage != "test" or cell.seed is None or outcome.status != "done":
                continue
            seeds = runs[cell.pair, cell.method, outcome.responses]
            if cell.seed in seeds:
                raise InputError(f"{file} has {cell.id} again, with {outcome.responses} responses: name a file once.")
            seeds[cell.seed] = outcome
    found: dict[tuple[str, str], list[Budget]] = defaultdict(list)
    for (pair, method, responses), seeds in sorted(runs.items()):
        found[pair, method].append(_budget(responses, list(seeds.values())))
    return dict(found)


def _budget(responses: int, outcomes: Sequence[Outcome]) -> Budget:
    shares = [outcome.test.shares for outcome in outcomes if outcome.test is not None]
    return Budget(responses, float(np.mean([outcome.flops for outcome in outcomes])), np.array(shares))


def responses_to_reach(counts: Sequence[float], accuracies: Sequence[float], reached: float) -> float:
    """The amount of data at which a curve first reaches an accuracy, linear in the data's logarithm between two points.

    Args:
        counts: of data, ascending.
        accuracies: at each.
        reached: the accuracy.

    Returns:
        It; the first count if the curve begins above, and infinity if it does not get there.

    Example:
        >>> responses_to_reach([100, 400], [0.2, 0.6], 0.4), responses_to_reach([100, 400], [0.2, 0.6], 0.7)
        (200.0, inf)
    """
    if accuracies[0] >= reached:
        return float(counts[0])
    for (few, low), (many, high) in pairwise(zip(counts, accuracies, strict=True)):
        if high >= reached:
            return round(few * (many / few) ** ((reached - low) / (high - low)), 9)
    return math.inf


def compare(sft: Sequence[Budget], opd: Budget, seed: int = 0) -> dict[str, Any]:
    """One distillation against SFT on the teacher's responses.

    Args:
        sft: SFT's budgets, the smallest first; with half as many responses as the distillation and as many among them.
        opd: the distillation.
        seed: of the bootstrap.

    Returns:
        The distillation's ``responses``, ``flops`` and ``accuracy``; ``measured`` and ``extrapolated``, each with the
        multiples ``data`` and ``flops`` as ``[value, low, high]``, in which None is "not reached"; and ``least``, the
        smallest budget of SFT as such a multiple of data: a measured value at it means "at most".
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([_multiples(*_resampled(sft, opd, rng)) for _ in range(RESAMPLES)])
    ends = np.quantile(drawn, _QUANTILES, axis=0, method="inverted_cdf")  # an end may be infinite
    rows = np.vstack([_multiples(sft, opd), ends]).T  # [measured and extrapolated; value, low, high]
    price = _price(sft) / (opd.flops / opd.responses)
    return {
        "responses": opd.responses,
        "flops": opd.flops,
        "accuracy": opd.accuracy,
        "least": sft[0].responses / opd.responses,
        **{
            name: {"data": _finite(row), "flops": _finite([price * one for one in row])}
            for name, row in zip(("measured", "extrapolated"), rows, strict=True)
        },
    }


def _price(sft: Sequence[Budget]) -> float:
    """FLOPs of a response of SFT, the teacher's writing included."""
    return sum(one.flops for one in sft) / sum(one.responses for one in sft)


def _multiples(sft: Sequence[Budget], opd: Budget) -> tuple[float, float]:
    counts, accuracies = [one.responses for one in sft], [one.accuracy for one in sft]
    pair = [counts.index(opd.responses // 2), counts.index(opd.responses)]
    line = LogLine.of([counts[i] for i in pair], [accuracies[i] for i in pair])
    needed = responses_to_reach(counts, accuracies, opd.accuracy), line.needed(opd.accuracy)
    return needed[0] / opd.responses, needed[1] / opd.responses


def _resampled(sft: Sequence[Budget], opd: Budget, rng: np.random.Generator) -> tuple[list[Budget], Budget]:
    """Other problems, the same for all, and other seeds, each budget its own."""
    problems = rng.integers(opd.shares.shape[1], size=opd.shares.shape[1])

    def drawn(one: Budget) -> Budget:
        seeds = rng.integers(len(one.shares), size=len(one.shares))
        return Budget(one.responses, one.flops, one.shares[np.ix_(seeds, problems)])

    return [drawn(one) for one in sft], drawn(opd)


def _finite(row: Sequence[float]) -> list[float | None]:
    return [None if math.isinf(one) else round(float(one), 4) for one in row]


def comparisons(budgets: Budgets, method: str) -> Iterator[dict[str, Any]]:
    """Each budget of a distillation that SFT was also run at, and at half of it."""
    for (pair, name), opds in budgets.items():
        sft = budgets.get((pair, SFT), [])
        counts = {one.responses for one in sft}
        for opd in opds if name == method else []:
            if {opd.responses, opd.responses // 2} <= counts:
                yield {"pair": pair, "method": method, "seeds": len(opd.shares), **compare(sft, opd)}


def curves(budgets: Budgets) -> list[dict[str, Any]]:
    """The accuracy of each method at each budget."""
    return [
        {
            "pair": pair,
            "method": method,
            "responses": one.responses,
            "flops": one.flops,
            "accuracy": one.accuracy,
            "by_seed": [round(float(share), 6) for share in one.shares.mean(axis=1)],
        }
        for (pair, method), found in budgets.items()
        for one in found
    ]


def markdown(content: Mapping[str, Any]) -> str:
    """The comparisons as a table, and below it SFT's accuracies."""
    lines = [
        "| pair | responses | accuracy | data, measured | FLOPs, measured | data, extrapolated |",
        "|---|--:|--:|---|---|---|",
    ]
    for row in content["comparisons"]:
        is_least = row["measured"]["data"][0] == row["least"]
        shown = [_shown(row[how][what]) for how, what in _SHOWN]
        shown[:2] = [f"at most {one}" for one in shown[:2]] if is_least else shown[:2]
        lines.append(f"| {row['pair']} | {row['responses']} | {row['accuracy']:.1%} | {' | '.join(shown)} |")
    by_name: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for point in content["curves"]:
        by_name[point["pair"], point["method"]][point["responses"]] = point["accuracy"]
    counts = sorted({point["responses"] for point in content["curves"]})
    lines += ["", f"| | {' | '.join(map(str, counts))} |", "|---|" + "--:|" * len(counts)]
    for (pair, method), found in by_name.items():
        cells = (f"{100 * found[count]:.1f}" if count in found else "" for count in counts)
        lines.append(f"| {pair}, `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


_SHOWN = (("measured", "data"), ("measured", "flops"), ("extrapolated", "data"))


def _shown(row: Sequence[float | None]) -> str:
    value, low, high = ("more" if one is None else f"{one:.2g}" for one in row)
    return f"{value} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="cells.jsonl of the arenas")
    parser.add_argument("--method", default="dpca", help="the distillation")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    budgets = read_budgets(given.files)
    content = {"comparisons": list(comparisons(budgets, given.method)), "curves": curves(budgets)}
    print(markdown(content))
    if given.json is not None:
        write_json(given.json, content)


if __name__ == "__main__":
    main()
