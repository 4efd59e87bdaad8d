"""Figures of every method on pairs of enumerable models."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.causes.descent import descend, mean_bytes
from benchmarks.causes.exact import Expected, ToyPair, cosine, full_returns, interval
from benchmarks.causes.language import NO_LOOK_AHEAD, PREFIX_FREE, VOCABULARIES, Source, free_table, table_of
from benchmarks.causes.methods import AT_REST, ONE_VOCABULARY_ONLY, method
from crossdistill.objectives import available

CONTROL = "whole log-ratio at each token (control)"
STEP = 0.01
"""Length of the small step of the table, and size of each entry of the sign step."""
BATCH = 64


def methods_for(kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if kind == "same" or name not in ONE_VOCABULARY_ONLY]


def pairs(
    kind: str, distance: float, number: int, longest: int, free: bool = False
) -> Iterator[tuple[ToyPair, Tensor]]:
    """Random pairs, each with the student's table that agrees with the teacher (that of the start for a free one)."""
    ours, theirs = VOCABULARIES[kind]
    for seed in range(number):
        generator = torch.Generator().manual_seed(1000 + seed)
        source = Source.drawn(longest, generator)
        others = source.near(distance, generator)
        if kind.endswith(NO_LOOK_AHEAD):
            source, others = source.made_of(PREFIX_FREE), others.made_of(PREFIX_FREE)
        equal = table_of(source, ours)
        student = free_table(longest, ours, generator) if free else table_of(others, ours)
        yield ToyPair.of(student, table_of(source, theirs), longest, free), student.logits if free else equal.logits


def direction(pair: ToyPair, name: str) -> dict[str, float]:
    """Of the expected gradient at the student of the pair."""
    logits = pair.student.logits
    target, forward = pair.gradient_of("reverse_kl", logits), pair.gradient_of("forward_kl", logits)
    if name == CONTROL:
        mean = full_returns(pair, logits) / pair.mean_tokens(logits)
        return {"cosine": cosine(mean, target), "norm_ratio": float(mean.norm() / target.norm())}
    expected = Expected(pair, method(name))
    expected.train_heads(logits)
    found = expected(logits)
    mean, norm = found.mean, found.mean.norm()
    noise = max(found.second_moment - float(norm.square()), 0.0)
    figures = {
        "cosine": cosine(mean, target),
        "cosine_forward": cosine(mean, forward),
        "norm_ratio": float(norm / target.norm()),
        "supervised": found.supervised,
        "noise": (noise / float(norm.square())) ** 0.5 if norm > 1e-12 else float("nan"),
        "cosine_batch": cosine(mean, target) * float(norm / (norm.square() + noise / BATCH + 1e-30).sqrt()),
    }
    start = pair.reverse_kl(logits)
    for step, way in (("step", mean / norm.clamp(min=1e-12)), ("sign_step", mean.sign() * (mean.abs() > 1e-10))):
        figures[step] = float(pair.reverse_kl(logits - STEP * way) - start)
        figures[f"{step}_falls"] = float(figures[step] < 0)
    return figures


def directions(
    kind: str, distance: float, number: int, longest: int, names: Sequence[str], free: bool = False
) -> dict[str, Any]:
    """Figures of each method, mean and 95 % interval over `number` random pairs."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair, _ in pairs(kind, distance, number, longest, free):
        for name in [CONTROL, *methods_for(kind, names)]:
            for figure, value in direction(pair, name).items():
                rows[name][figure].append(value)
    return {name: {figure: interval(values) for figure, values in row.items()} for name, row in rows.items()}


def agreement(pair: ToyPair, equal: Tensor, name: str) -> float:
    """Norm of the expected gradient of a student that agrees with the teacher, as a share of that at the start."""
    expected = Expected(pair, method(name))
    expected.train_heads(equal)
    at_equal = expected(equal).mean.norm()
    expected.train_heads(pair.student.logits)
    return float(at_equal / expected(pair.student.logits).mean.norm().clamp(min=1e-30))


def agreements(kind: str, distance: float, number: int, longest: int, names: Sequence[str]) -> dict[str, Any]:
    """:func:`agreement` of each method, mean and interval over pairs."""
    rows: dict[str, list[float]] = defaultdict(list)
    for pair, equal in pairs(kind, distance, number, longest):
        for name in methods_for(kind, names):
            rows[name].append(agreement(pair, equal, name))
    return {name: {"gradient_at_agreement": interval(values)} for name, values in rows.items()}


def descents(kind: str, distance: float, number: int, longest: int, names: Sequence[str], steps: int) -> dict[str, Any]:
    """Where each method leads: from a start at some distance, and from agreement; mean and interval over pairs."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair, equal in pairs(kind, distance, number, longest):
        start = float(pair.reverse_kl(pair.student.logits))
        for name in methods_for(kind, [name for name in names if name in available() or name in AT_REST]):
            row = rows[name]
            row["start_kl"].append(start)
            rest = descend(pair, method(name), pair.student.logits, steps)
            away = descend(pair, method(name), equal, steps)
            row["final_kl"].append(rest.kl)
            row["highest_kl"].append(rest.highest_kl)
            row["from_agreement_kl"].append(away.kl)
            row["bytes_over_teacher"].append(rest.bytes - mean_bytes(pair, equal))
    return {name: {figure: interval(values) for figure, values in row.items()} for name, row in rows.items()}
