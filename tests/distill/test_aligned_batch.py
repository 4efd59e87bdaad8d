"""Every row of the batch is the token that it says, with the state that predicts it and the byte where it ends."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from crossdistill.align import DropReason
from crossdistill.chat import split_response
from crossdistill.distill.aligned_batch import select
from crossdistill.objectives import AlignedBatch, LossInputs, LossSum, Objective, get
from crossdistill.ops import HiddenStates, LMHead, TopLogprobs
from crossdistill.signal import Signal
from crossdistill.teachers import TeacherRequest, TeacherScore
from tests.distill.fake_teacher import FakeTeacher, score_of
from tests.distill.fake_teacher import scored as scored_responses
from tests.tokenizers_in_process import NAMES

TEXTS = ("The quick brown fox, 120 ...]", "naïve café 你好 🤗", "\u0344 e\u0301 \x00 \ufdfa x", "42")


@dataclass(frozen=True)
class Wants(Objective):
    """Asks for a signal and computes nothing."""

    name: ClassVar[str] = "wants"
    wanted: Signal
    late: Signal | None = None

    @property
    def signal(self) -> Signal:
        return self.wanted

    @property
    def loss_signal(self) -> Signal:
        return self.late or self.wanted

    @property
    def top_k(self) -> int:
        return 2

    def loss(self, inputs: LossInputs) -> LossSum:
        raise NotImplementedError


class NumberingTeacher(FakeTeacher):
    """Its state at row j of a request is j, and its most probable tokens are j and j + 1."""

    signal = Signal.DENSE
    head = LMHead(torch.zeros(3, 1))
    last_top = -9.0
    """Log-probability of the second of the most probable tokens in the last row."""

    def score(self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0) -> list:
        self.asked, self.states = (signal, top_k), []
        self.requests += requests
        return [self._one(request, signal) for request in requests]

    def _one(self, request: TeacherRequest, signal: Signal) -> TeacherScore:
        rows = torch.arange(len(request.response_ids) + 1)[:, None]
        base, top = score_of(request), -rows.float().expand(-1, 2)
        top = torch.cat([top[:-1], torch.tensor([[top[-1, 0], self.last_top]])])
        states = rows.float()
        self.states.append(states)
        return TeacherScore(
            base.logprobs,
            base.stop_logprob,
            HiddenStates(states, self.head) if signal is Signal.DENSE else None,
            TopLogprobs(torch.cat([rows, rows + 1], 1), top) if signal is Signal.TOPK else None,
        )


def completions(student, special) -> list[list[int]]:
    control, stop = special
    rows = [[*student.encode(text).ids.tolist(), stop] for text in TEXTS]
    return [*rows, [control, *rows[0][:5], control, *rows[1][3:-1]], [stop], [], rows[2][:-1]]


def scored(objective: Objective, sides, name: str, student, special, **options) -> tuple[NumberingTeacher, list]:
    teacher = NumberingTeacher(*sides[name])
    rows = completions(student, special)
    items, _ = scored_responses(objective, teacher, student, special[1:], rows, **options)
    return teacher, items


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_the_tokens_they_say(sides, student, special, name):
    _, items = scored(Wants(Signal.DENSE), sides, name, student, special)
    for item in items:
        batch, response = item.batch, split_response(item.response.ids, student, set(special[1:]))
        chunks, stopped = batch.alignment, response.stop_position is not None
        assert batch.is_stop.tolist() == [False] * (chunks.num_chunks - stopped) + [True] * stopped
        positions = np.flatnonzero(item.mask)
        ours, theirs = batch.student, batch.teacher
        assert ours.ids.tolist() == item.response.ids[positions].tolist()
        np.testing.assert_array_equal(ours.old_logprobs, item.student_logprobs[positions])
        assert ours.logprobs[:-1].tolist() == ours.old_logprobs[:-1].tolist()
        if stopped:
            assert (ours.logprobs[-1], theirs.logprobs[-1]) == (-0.25, -0.75)
        rows = [*item.aligned.teacher_positions, *([len(item.encoding.ids)] if stopped else [])]
        assert theirs.states.hidden[:, 0].tolist() == rows
        text_rows = rows[: len(rows) - stopped]
        assert theirs.ids[: len(text_rows)].tolist() == item.encoding.ids[text_rows].tolist()
        assert theirs.logprobs[: len(text_rows)].tolist() == item.teacher.logprobs[text_rows].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_ends_are_those_of_the_chunks_and_of_the_pieces(sides, student, special, name):
    _, items = scored(Wants(Signal.DENSE), sides, name, student, special)
    for batch in [*(item.batch for item in items), AlignedBatch.concatenate([item.batch for item in items])]:
        chunks = batch.alignment
        for side, splits in ((batch.student, chunks.student_splits), (batch.teacher, chunks.teacher_splits)):
            assert side.ends[splits[1:] - 1].tolist() == chunks.byte_splits[1:].tolist()
            assert (np.diff(side.ends) >= 0).all()
        widths = np.diff([0, *batch.student.ends.tolist()])
        is_text = np.repeat(~batch.is_stop, chunks.student_sizes)
        assert widths[is_text].tolist() == student.lengths[batch.student.ids.numpy()[is_text]].tolist()


def test_one_of_several_is_the_several_one_after_the_other(sides, student, special):
    _, items = scored(Wants(Signal.DENSE), sides, "gemma", student, special)
    parts = [item.batch for item in items]
    whole = AlignedBatch.concatenate(parts)
    sizes = [part.alignment.num_chunks for part in parts]
    assert whole.response_splits.tolist() == list(itertools.accumulate(sizes, initial=0))
    assert whole.alignment.num_chunks == sum(sizes)
    assert whole.teacher.dense.hidden[:, 0].tolist() == [row for p in parts for row in p.teacher.dense.hidden[:, 0]]
    again = AlignedBatch.concatenate([AlignedBatch.concatenate(parts[:3]), AlignedBatch.concatenate(parts[3:])])
    assert again.response_splits.tolist() == whole.response_splits.tolist()
    assert again.teacher.ends.tolist() == whole.teacher.ends.tolist()


def test_an_objective_gets_what_it_asks_for_and_the_loss_what_it_needs(sides, student, special):
    teacher, items = scored(Wants(Signal.TOPK), sides, "qwen", student, special)
    assert teacher.asked == (Signal.TOPK, 2)
    top = items[0].batch.teacher.most_probable
    assert top.ids[:, 0].tolist() == [*items[0].aligned.teacher_positions, len(items[0].encoding.ids)]
    assert items[0].batch.teacher.states is None
    teacher, items = scored(Wants(Signal.DENSE, late=Signal.SAMPLED), sides, "qwen", student, special)
    assert teacher.asked[0] is Signal.DENSE
    assert all(item.batch.teacher.states is None and item.batch.teacher.topk is None for item in items)
    assert all(item.teacher.states is None for item in items)


def test_states_are_not_copied_to_wait_for_the_loss(sides, student, special):
    """At 16,384 tokens of a large model they are 168 MB a response, and may lie in a file."""
    teacher, items = scored(Wants(Signal.DENSE), sides, "qwen", student, special)
    seen = 0
    for item, given in zip(items, teacher.states, strict=True):
        rows = item.batch.teacher.dense.hidden[:, 0]
        if not len(rows) or not rows.diff().eq(1).all():
            continue  # tokens between them teach nothing
        seen += 1
        for kept in (item.batch, item.group, AlignedBatch.concatenate([item.batch]).to(torch.device("cpu"))):
            assert kept.teacher.dense.hidden.untyped_storage().data_ptr() == given.untyped_storage().data_ptr()
    assert seen > len(TEXTS)


def test_weights_are_the_objectives(sides, student, special):
    _, items = scored(get("dpca"), sides, "qwen", student, special)
    assert [item.weight for item in items] == [item.mask.sum() for item in items]


def test_without_the_stop_unit_no_stop_is_named(sides, student, special):
    _, items = scored(Wants(Signal.DENSE), sides, "qwen", student, special, stop_unit=False)
    assert not any(item.batch.is_stop.any() for item in items)
    assert {item.batch.pair.student_stops for item in items} == {()}
    assert {item.batch.pair.teacher_stops for item in items} == {()}


@pytest.mark.parametrize(("value", "reason"), [(math.nan, DropReason.NON_FINITE), (-math.inf, None)])
def test_a_nan_among_the_most_probable_tokens_drops_the_sample(sides, student, special, monkeypatch, value, reason):
    monkeypatch.setattr(NumberingTeacher, "last_top", value)
    _, items = scored(Wants(Signal.TOPK), sides, "gemma", student, special)
    assert {item.dropped for item in items} == {reason}


def assert_same_batch(ours: AlignedBatch, theirs: AlignedBatch) -> None:
    assert ours.alignment == theirs.alignment
    np.testing.assert_array_equal(ours.is_stop, theirs.is_stop)
    np.testing.assert_array_equal(ours.response_splits, theirs.response_splits)
    for side in ("student", "teacher"):
        for name, value in vars(getattr(ours, side)).items():
            other = getattr(getattr(theirs, side), name)
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other), name
            elif value is not None:
                assert all(torch.equal(*pair) for pair in zip(value, other, strict=True) if torch.is_tensor(pair[0])), (
                    name
                )


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("name", NAMES)
def test_some_responses_of_a_batch_are_their_own_batches_put_together(sides, student, special, name, signal):
    _, items = scored(Wants(signal), sides, name, student, special)
    parts = [item.batch for item in items]
    whole = AlignedBatch.concatenate(parts)
    assert select(whole, range(len(parts))) is whole
    for rows in ([len(parts) - 1, 0], [3, 4, 1, 2], *([k] for k in range(len(parts)))):
        assert_same_batch(select(whole, rows), AlignedBatch.concatenate([parts[k] for k in rows]))


def test_what_is_credited_together_is_kept_together(sides, student, special):
    _, items = scored(Wants(Signal.SAMPLED), sides, "gemma", student, special)
    assert len({id(item.group) for item in items}) == 1
    for item in items:
        assert_same_batch(select(item.group, [item.index]), item.batch)
