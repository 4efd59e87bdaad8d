"""The dense objectives, and the log-probabilities of the sampled tokens, beside the products that they must do."""

from functools import cache

import torch

from benchmarks.check.case import MEMORY, TIME, Case
from benchmarks.check.measuring import Call, peak_bytes, time_ratio
from benchmarks.dense.case import Case as Batch
from benchmarks.dense.case import World
from benchmarks.dense.cell import GOLD_PLAIN, Setting, Size
from benchmarks.dense.measure import SAME_VOCABULARY, backward, forget, step_of
from benchmarks.dense.products import BareProducts
from benchmarks.objectives import dense_objectives
from crossdistill.ops import token_logprobs

VOCABULARY = 8192
TEACHER_VOCABULARY = 12288
FEW, MANY = 192, 2048
"""Tokens for time, and for memory: more logits than a tile holds."""
SETTING = Setting("cpu", "float32", True, 512, 0, 1, 1.0)


def cases() -> list[Case]:
    """All of this file."""
    found = [Case("token_logprobs: time beside log_softmax", TIME, _beside_log_softmax)]
    found.append(Case("gold: time beside TRL's GOLD", TIME, lambda: _time("gold", _step(GOLD_PLAIN, FEW), rounds=3)))
    for name in dense_objectives():
        found += [
            Case(f"{name}: time beside the products", TIME, lambda name=name: _beside_products(name)),
            Case(f"{name}: memory beside both models' logits", MEMORY, lambda name=name: _beside_logits(name)),
        ]
    return found


@cache
def _world(is_one_vocabulary: bool) -> World:
    teachers = VOCABULARY if is_one_vocabulary else TEACHER_VOCABULARY
    size = Size(FEW, VOCABULARY, 96, teachers, 128)
    return World(size, SETTING, same_vocabulary=is_one_vocabulary)


@cache
def _batch(is_one_vocabulary: bool, tokens: int) -> Batch:
    return _world(is_one_vocabulary).case(tokens)


def _step(way: str, tokens: int) -> Call:
    is_one = way in SAME_VOCABULARY
    batch = _batch(is_one, tokens)
    step = step_of(way, _world(is_one))(batch)

    def call() -> None:
        forget(batch)
        step()

    return call


def _time(name: str, reference: Call, rounds: int = 7) -> float:
    return time_ratio(_step(name, FEW), reference, rounds)


def _beside_products(name: str) -> float:
    return _time(name, BareProducts(_batch(name in SAME_VOCABULARY, FEW)))


def _beside_logits(name: str) -> float:
    batch, step = _batch(name in SAME_VOCABULARY, MANY), _step(name, MANY)
    step()  # tables of the vocabularies are made at the first call
    forget(batch)
    sides = batch.student, batch.batch.teacher.dense
    return peak_bytes(step) / sum(4 * len(hidden) * head.vocab_size for hidden, head in sides)


def _beside_log_softmax() -> float:
    batch = _batch(False, FEW)
    (hidden, head), ids = batch.student, batch.batch.student.ids

    def ours() -> None:
        forget(batch)
        backward(token_logprobs(hidden, head, ids).logprobs.sum())

    def plain() -> None:
        forget(batch)
        backward(torch.log_softmax(hidden @ head.weight.T, -1).gather(1, ids[:, None]).sum())

    return time_ratio(ours, plain)
