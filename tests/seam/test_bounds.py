"""Where a teacher may spell the same bytes in several ways, what is said of a beginning is a lower bound.

This teacher draws its tokens one by one, each from the same distribution, so that the probability that what it writes
begins with given bytes is a sum over all that it may draw.
"""

from random import Random

import numpy as np
import pytest
import torch

from crossdistill.credit import batch_credit
from crossdistill.objectives import AlignedBatch
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.byte_prefixes import targets_of
from tests.objectives.cases import STUDENT_PIECES, TEACHER_PIECES, TEACHER_STOPS, batch, pair, sampled

ROUNDING = 1e-9
SEEDS = range(4)
VISIBLE = {k: piece for k, piece in enumerate(TEACHER_PIECES) if piece and k not in TEACHER_STOPS}


def begins(probs: list[float], data: bytes, read: bytes = b"") -> float:
    """Probability that it goes on with `data`, given that its next token begins with `read`, after these bytes."""
    found, given = 0.0, sum(probs)
    if read:
        given = sum(probs[k] for k, piece in VISIBLE.items() if piece.startswith(read))
    for token, piece in VISIBLE.items():
        left = piece[len(read) :]
        if piece.startswith(read) and left.startswith(data):
            found += probs[token]
        elif piece.startswith(read) and data.startswith(left):
            found += probs[token] * begins(probs, data[len(left) :])
    return found / given


def drawn(seed: int) -> tuple[list[float], AlignedBatch]:
    """The teacher's distribution, and a text of a student that finds every token as probable as any other."""
    rng, vocabs = Random(seed), pair()
    ids = sampled(rng, vocabs.student, 12)
    logits = torch.tensor([[rng.gauss(0, 1) for _ in TEACHER_PIECES]], dtype=torch.float64)
    num_teacher = len(vocabs.teacher.encode(vocabs.student.decode(ids)).ids)
    ones = [torch.ones(size + 1, 1, dtype=torch.float64) for size in (len(ids), num_teacher)]
    student = HiddenStates(ones[0], LMHead(torch.zeros(len(STUDENT_PIECES), 1, dtype=torch.float64)))
    teacher = HiddenStates(ones[1], LMHead(logits.T))
    return logits[0].softmax(-1).tolist(), batch(vocabs, ids, 0, (student, teacher))


def test_probabilities_of_beginnings_are_those_of_what_is_drawn():
    """By counting."""
    probs, _ = drawn(0)
    rng, number = Random(1), 20_000
    hits = dict.fromkeys([b"a", b"ab", b"b a", b"aab"], 0)
    for _ in range(number):
        data = b""
        while len(data) < 4 and (token := rng.choices(range(len(probs)), probs)[0]) in VISIBLE:
            data += VISIBLE[token]
        for beginning in hits:
            hits[beginning] += data.startswith(beginning)
    for beginning, count in hits.items():
        assert count / number == pytest.approx(begins(probs, beginning), abs=0.015)


@pytest.mark.parametrize("seed", SEEDS)
def test_credit_of_the_bytes_up_to_a_token_is_a_lower_bound(seed):
    """From the start of its chunk."""
    probs, part = drawn(seed)
    scores, borders = batch_credit(part, "marginal") + part.student.logprobs, TokenOffsets.of(part)
    gaps = []
    for chunk in np.flatnonzero(~part.is_stop):
        tokens = np.flatnonzero(borders.chunks == chunk)
        start = borders.starts[tokens[0]]
        for k, token in enumerate(tokens):
            data = borders.data[start : int(part.student.ends[token])]
            gaps.append(np.log(begins(probs, data)) - float(scores[tokens[: k + 1]].sum()))
    assert min(gaps) > -ROUNDING
    assert max(gaps) > 0.05  # other ways to spell it are left out
    stop = sum(probs[k] for k in TEACHER_STOPS)
    assert float(scores[-1]) == pytest.approx(np.log(stop))


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_of_a_beginning_are_lower_bounds(seed):
    """What goes to the tokens that begin with some bytes is at most the probability of these bytes."""
    probs, part = drawn(seed)
    borders, gaps = TokenOffsets.of(part), []
    for token, target in enumerate(targets_of(part)):
        assert sum(target.values()) == pytest.approx(1.0)
        read = borders.prefixes(np.array([token]))[0]
        columns = {column: value for column, value in target.items() if isinstance(column, bytes)}
        for data in columns:
            given = sum(value for column, value in columns.items() if column.startswith(data))
            gaps.append(begins(probs, data, read) - given)
        stop = 0.0 if read else sum(probs[k] for k in TEACHER_STOPS)
        assert target.get("stop", 0.0) == pytest.approx(stop)
    assert min(gaps) > -ROUNDING
    assert max(gaps) > 0.01
