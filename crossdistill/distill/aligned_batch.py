"""From a scored response to what an objective sees of it."""

import numpy as np
import torch

from crossdistill.align import Alignment
from crossdistill.distill.response import AlignedResponse
from crossdistill.objectives import AlignedBatch, StudentTokens, TeacherTokens, VocabPair
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.teachers import TeacherScore

_ONE = np.array([0, 1])
STOP_UNIT = Alignment(_ONE, _ONE, _ONE)
"""The student's stop token against the teacher's, as one 1:1 chunk (its byte is a place-holder)."""


def supervised_positions(aligned: AlignedResponse, score: TeacherScore) -> np.ndarray:
    """Where the supervised tokens stand in ``response.ids``, ascending: those of the chunks, then a taught stop."""
    if score.stop_logprob is None:
        return aligned.student_positions
    assert aligned.response.stop_position is not None  # no other response is asked for its stop
    return np.append(aligned.student_positions, aligned.response.stop_position)


def aligned_batch_of(
    aligned: AlignedResponse,
    score: TeacherScore,
    student_logprobs: np.ndarray,
    student_stop_logprob: float | None,
    pair: VocabPair,
) -> AlignedBatch:
    """The batch of one response.

    Args:
        student_logprobs: nats, [sampled tokens], of the policy that sampled.
        student_stop_logprob: log of the student's stop mass where the response stopped.
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
    )


def _student_tokens(
    aligned: AlignedResponse, score: TeacherScore, sampled: np.ndarray, stop_logprob: float | None
) -> StudentTokens:
    positions, chunks = supervised_positions(aligned, score), aligned.alignment
    logprobs = sampled[positions].astype(np.float32)
    masses = logprobs.copy()
    if score.stop_logprob is not None:
        masses[-1] = stop_logprob
    ends = _within(aligned.student_ends, chunks.student_splits, chunks.byte_splits)
    return StudentTokens(
        torch.from_numpy(aligned.response.ids[positions].astype(np.int64)),
        _with_stop(ends, chunks, score),
        torch.from_numpy(logprobs),
        torch.from_numpy(masses),
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
        score.states and HiddenStates(score.states.hidden[rows], score.states.head),
        score.topk and TopLogprobs(score.topk.ids[rows], score.topk.logprobs[rows]),
    )


def _within(ends: np.ndarray, splits: np.ndarray, byte_splits: np.ndarray) -> np.ndarray:
    """Ends of tokens in the bytes of the chunks alone, from ends in the whole text: the chunks' own ends are known."""
    shifts = byte_splits[1:] - ends[splits[1:] - 1]
    return ends + np.repeat(shifts, np.diff(splits))


def _with_stop(ends: np.ndarray, chunks: Alignment, score: TeacherScore) -> torch.Tensor:
    stop = [] if score.stop_logprob is None else [chunks.byte_splits[-1] + 1]
    return torch.from_numpy(np.concatenate([ends, np.array(stop, dtype=np.int64)]).astype(np.int64))
