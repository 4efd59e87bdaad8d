"""From an aligned response and its teacher's score to the aligned batch that an objective sees."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from crossdistill.align import Alignment
from crossdistill.distill.response import AlignedResponse
from crossdistill.objectives.shared.inputs import AlignedBatch, StudentTokens, TeacherTokens
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import TopLogprobs
from crossdistill.teachers.base import TeacherScore

_ONE = np.array([0, 1])
STOP_UNIT = Alignment(_ONE, _ONE, _ONE)
"""The student's stop token against the teacher's, as one 1:1 chunk (its byte is a placeholder)."""


def supervised_positions(aligned: AlignedResponse, score: TeacherScore) -> np.ndarray:
    """Positions of the supervised tokens in ``response.ids``, ascending: those of the chunks, then the stop."""
    if score.stop_logprob is None:
        return aligned.student_positions
    assert aligned.response.stop_position is not None  # no other request asks for its stop
    return np.append(aligned.student_positions, aligned.response.stop_position)


def aligned_batch_of(
    aligned: AlignedResponse,
    score: TeacherScore,
    student_logprobs: np.ndarray,
    student_stop_logprob: float | None,
    pair: VocabPair,
    group: ResponseGroups | None = None,
) -> AlignedBatch:
    """The aligned batch of one response.

    Args:
        aligned: the response in both models' tokens.
        score: the teacher's.
        student_logprobs: nats, [sampled tokens], under the policy that sampled.
        student_stop_logprob: log of the student's stop mass if the response stopped, else None.
        pair: both vocabularies.
        group: of the response.
    """
    stopped = score.stop_logprob is not None
    alignment = Alignment.concatenate([aligned.alignment, STOP_UNIT]) if stopped else aligned.alignment
    is_stop = np.zeros(alignment.num_chunks, dtype=bool)
    is_stop[alignment.num_chunks - stopped :] = True
    return AlignedBatch(
        alignment,
        is_stop,
        np.array([0, alignment.num_chunks]),
        pair,
        _student_tokens(aligned, score, student_logprobs, student_stop_logprob),
        _teacher_tokens(aligned, score, pair),
        group,
    )


def select(batch: AlignedBatch, responses: Sequence[int]) -> AlignedBatch:
    """Some responses of a batch, in the given order; the batch itself if it is all of them in their own order."""
    if list(responses) == list(range(len(batch.response_splits) - 1)):
        return batch
    rows = np.asarray(responses, dtype=np.int64)
    firsts, lasts = batch.response_splits[rows], batch.response_splits[rows + 1]
    groups = batch.groups and batch.groups.select(rows)
    return _of_chunks(batch, _ranges(firsts, lasts), _splits(lasts - firsts), groups)


def with_chunks(batch: AlignedBatch, kept: np.ndarray) -> AlignedBatch:
    """Some chunks of a batch, in order; a response of which none is kept has none.

    Args:
        batch: aligned responses.
        kept: bool [C], the chunks.
    """
    before = _splits(kept)
    return _of_chunks(batch, kept.nonzero()[0], before[batch.response_splits], batch.groups)


def _of_chunks(
    batch: AlignedBatch, chunks: np.ndarray, response_splits: np.ndarray, groups: ResponseGroups | None
) -> AlignedBatch:
    whole = batch.alignment
    splits = [whole.student_splits, whole.teacher_splits, whole.byte_splits]
    alignment = Alignment(*(_splits(np.diff(side)[chunks]) for side in splits))
    student, teacher = (_ranges(side[chunks], side[chunks + 1]) for side in splits[:2])
    byte_shifts = alignment.byte_splits[:-1] - whole.byte_splits[chunks]

    def shifted(ends: Tensor, side: np.ndarray, tokens: np.ndarray) -> Tensor:
        shifts = np.repeat(byte_shifts, np.diff(side)[chunks])
        return ends[tokens] + torch.from_numpy(shifts).to(ends.device)

    ours, theirs = batch.student, batch.teacher
    return AlignedBatch(
        alignment,
        batch.is_stop[chunks],
        response_splits,
        batch.pair,
        StudentTokens(
            ours.ids[student],
            shifted(ours.ends, splits[0], student),
            ours.old_logprobs[student],
            ours.logprobs[student],
            None if ours.positions is None else ours.positions[student],
        ),
        TeacherTokens(
            theirs.ids[teacher],
            shifted(theirs.ends, splits[1], teacher),
            theirs.logprobs[teacher],
            theirs.states and theirs.states.at(torch.from_numpy(teacher)),
            theirs.topk and TopLogprobs(*(values[teacher] for values in theirs.topk)),
        ),
        groups,
    )


def _splits(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])


def _ranges(firsts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """``[*range(firsts[0], lasts[0]), *range(firsts[1], lasts[1]), ...]``, int64."""
    sizes = lasts - firsts
    return np.repeat(firsts - _splits(sizes)[:-1], sizes) + np.arange(sizes.sum())


def _student_tokens(
    aligned: AlignedResponse, score: TeacherScore, sampled: np.ndarray, stop_logprob: float | None
) -> StudentTokens:
    positions, chunks = supervised_positions(aligned, score), aligned.alignment
    old_logprobs = sampled[positions].astype(np.float32)
    logprobs = old_logprobs.copy()
    if score.stop_logprob is not None:
        logprobs[-1] = stop_logprob
    ends = _within(aligned.student_ends, chunks.student_splits, chunks.byte_splits)
    return StudentTokens(
        torch.from_numpy(aligned.response.ids[positions].astype(np.int64)),
        _with_stop(ends, chunks, score),
        torch.from_numpy(old_logprobs),
        torch.from_numpy(logprobs),
        torch.from_numpy(positions.astype(np.int64)),
    )


def _teacher_tokens(aligned: AlignedResponse, score: TeacherScore, pair: VocabPair) -> TeacherTokens:
    positions, chunks = aligned.teacher_positions, aligned.alignment
    ids, logprobs, rows = aligned.encoding.ids[positions], score.logprobs[positions], torch.from_numpy(positions)
    if score.stop_logprob is not None:
        ids = np.append(ids, pair.teacher_stops[0])
        logprobs = np.append(logprobs, np.float32(score.stop_logprob))
        rows = torch.cat([rows, torch.tensor([len(score.logprobs)])])  # the state after the whole response
    ends = _within(aligned.encoding.ends[positions], chunks.teacher_splits, chunks.byte_splits)
    return TeacherTokens(
        torch.from_numpy(ids.astype(np.int64)),
        _with_stop(ends, chunks, score),
        torch.from_numpy(logprobs.astype(np.float32)),
        score.states and score.states._replace(hidden=_rows_of(score.states.hidden, rows)),
        score.topk and TopLogprobs(score.topk.ids[rows], score.topk.logprobs[rows]),
    )


def _rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Some rows, ascending; without a copy if they are consecutive, as states are large."""
    if len(rows) and int(rows[-1] - rows[0]) == len(rows) - 1:
        return values[int(rows[0]) : int(rows[-1]) + 1]
    return values[rows]


def _within(ends: np.ndarray, splits: np.ndarray, byte_splits: np.ndarray) -> np.ndarray:
    """Ends of tokens in the bytes of the chunks alone, from ends in the whole text: the chunks' own ends are known."""
    shifts = byte_splits[1:] - ends[splits[1:] - 1]
    return ends + np.repeat(shifts, splits[1:] - splits[:-1])


def _with_stop(ends: np.ndarray, chunks: Alignment, score: TeacherScore) -> Tensor:
    stop = [] if score.stop_logprob is None else [chunks.byte_splits[-1] + 1]
    return torch.from_numpy(np.concatenate([ends, np.array(stop, dtype=np.int64)]).astype(np.int64))
