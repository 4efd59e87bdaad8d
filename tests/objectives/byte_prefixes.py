"""Helpers of the tests of byte-prefix methods."""

import numpy as np
import torch
from torch import Tensor

from crossdistill import Alignment
from crossdistill.objectives import AlignedBatch, LossInputs, StudentTokens, TeacherTokens, VocabPair
from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of
from crossdistill.objectives.shared.bytewise.realised_path import moves_along
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import Case, vocab
from tests.oracles.bpm import Text

HALVES = VocabPair(vocab((b"", b"a", b"b", b"ab")), vocab((b"", b"a", b"ab", b"b", b"c")), (0,), (0,))
LETTERS = VocabPair(vocab((b"", b"a", b"b")), HALVES.teacher, (0,), (0,))


def text_of(batch: AlignedBatch) -> Text:
    """One response as the oracle reads it."""
    pair = batch.pair
    return Text(
        batch.student.ids.tolist(),
        batch.teacher.ids.tolist(),
        pair.student.pieces,
        pair.teacher.pieces,
        pair.student_stops,
        pair.teacher_stops,
        bool(batch.is_stop.any()),
    )


def logits(whole: Case, which: int) -> tuple[Tensor, Tensor]:
    """The logits of the student and of the teacher in one response."""
    teacher = whole.parts[which].teacher.dense
    return whole.head.logits(whole.hidden[which]), teacher.head.logits(teacher.hidden)


def responses(whole: Case) -> list[int]:
    """The responses that have tokens."""
    return [k for k, part in enumerate(whole.parts) if len(part.student.ids)]


def total_of(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum()


def states_of(student: list[list[float]], teacher: list[list[float]]) -> tuple[HiddenStates, HiddenStates]:
    """States that are logits, with these probabilities."""
    sides = []
    for rows in (student, teacher):
        hidden = torch.tensor(rows, dtype=torch.float64).log()
        sides.append(HiddenStates(hidden, LMHead(torch.eye(hidden.shape[1], dtype=torch.float64))))
    return sides[0], sides[1]


def one_chunk(pair: VocabPair, ids: list[list[int]], states: tuple[HiddenStates, HiddenStates]) -> LossInputs:
    ends = [
        [*np.cumsum([len(v.pieces[k]) for k in row])] for v, row in zip((pair.student, pair.teacher), ids, strict=True)
    ]
    tokens = [torch.tensor(row) for row in ids]
    logprobs = [
        torch.log_softmax(side.head.logits(side.hidden), -1).gather(1, row[:, None])[:, 0]
        for side, row in zip(states, tokens, strict=True)
    ]
    alignment = Alignment([0, len(ids[0])], [0, len(ids[1])], [0, ends[0][-1]])
    batch = AlignedBatch(
        alignment,
        np.zeros(1, dtype=bool),
        np.array([0, 1]),
        pair,
        StudentTokens(tokens[0], torch.tensor(ends[0]), logprobs[0], logprobs[0]),
        TeacherTokens(tokens[1], torch.tensor(ends[1]), logprobs[1], states[1]),
    )
    return LossInputs(batch, torch.zeros(len(ids[0])), states[0])


def targets_of(batch: AlignedBatch) -> list[dict[bytes | str, float]]:
    """The bpm target of each student token, by the bytes of its columns, "stop" and "other"."""
    token_offsets, tables, device = TokenOffsets.of(batch), prefixes_of(batch.pair), torch.device("cpu")
    moves, teacher = moves_along(batch, token_offsets, tables, 1.0), batch.teacher.dense
    found: dict[int, dict[bytes | str, float]] = {}
    for tokens, targets in (
        (token_offsets.first, FirstTargets(tables, device)),
        (token_offsets.inner, InnerTargets(tables, token_offsets.prefixes(token_offsets.inner), device)),
    ):
        numbers, logits = torch.arange(len(tokens)), teacher.head.logits(teacher.hidden[token_offsets.rows[tokens]])
        target, own, _ = moves.of(torch.as_tensor(tokens)).applied(*targets(logits, numbers), numbers)
        names = {tables.residual: "other", tables.stop: "stop"}
        for token, row, has in zip(tokens.tolist(), target.tolist(), own.expand_as(target).tolist(), strict=True):
            columns = [k for k, flag in enumerate(has) if flag]
            found[token] = {names.get(k, (*batch.pair.student.pieces, b"")[k]): row[k] for k in columns}
    return [found[token] for token in sorted(found)]
