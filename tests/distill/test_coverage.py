"""Every sampled token is supervised, or dropped under a reason and counted."""

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.align import DropReason
from crossdistill.chat import ensure_template
from crossdistill.teachers import TeacherRequest
from tests.distill.fake_teacher import (
    Answer,
    FakeTeacher,
    expected_advantages,
    poisoned,
    poisoned_stop,
    score_of,
    scored_by,
    student_logprobs,
    too_long,
    total,
)
from tests.oracles.alignment import synchronised
from tests.tokenizers_in_process import NAMES
from tests.tokens.test_vocab import without_entries

# ---- dropped samples -------------------------------------------------------------------------------------------------

FAILURES = {
    "context": (too_long, DropReason.TEACHER_CONTEXT),
    "nan": (poisoned(math.nan), DropReason.NON_FINITE),
    "nan at the end": (poisoned(math.nan, -1), DropReason.NON_FINITE),
    "minus infinity": (poisoned(-math.inf), DropReason.NON_FINITE),
    "plus infinity": (poisoned(math.inf), DropReason.NON_FINITE),
    "nan stop": (poisoned_stop(math.nan), DropReason.NON_FINITE),
    "infinite stop": (poisoned_stop(-math.inf), DropReason.NON_FINITE),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_dropped_sample_is_counted_and_leaves_the_others_alone(sides, student, special, failure, place):
    control, stop = special
    answer, reason = FAILURES[failure]
    completions = [[*student.encode(text).ids, stop] for text in ("The quick", "12 + 30 = 42", "naïve café")]
    completions[place].insert(0, control)
    answers = [answer if k == place else score_of for k in range(3)]
    teacher = FakeTeacher(*sides["gemma"], answers)
    scored = scored_by(teacher, student, [stop], completions)
    dropped = scored[place]
    assert (dropped.dropped, dropped.teacher) == (reason, None)
    assert dropped.advantages.tolist() == [0.0] * len(completions[place])
    assert not dropped.mask.any()
    assert (dropped.gap_nats, dropped.gap_bytes) == (0, 0)
    assert dropped.alignment.num_chunks > 0
    coverage = dropped.coverage
    assert (coverage.supervised.tokens, coverage.supervised.bytes) == (0, 0)
    assert coverage.dropped[reason].tokens == len(completions[place]) - 1
    assert coverage.dropped[reason].bytes == len(dropped.response.data)
    assert coverage.dropped[DropReason.SPECIAL_TOKEN].tokens == 1
    for k in {0, 1, 2} - {place}:
        expected = expected_advantages(scored[k].response, student, teacher)
        np.testing.assert_allclose(scored[k].advantages, np.array(expected), rtol=1e-4, atol=1e-5)
        assert scored[k].mask.all()


def test_when_every_sample_is_dropped_nothing_is_supervised(sides, student, special):
    _, stop = special
    completions = [[*student.encode("The quick").ids, stop], student.encode("fox").ids.tolist()]
    teacher = FakeTeacher(*sides["gemma"], [too_long, poisoned(math.nan)])
    scored = scored_by(teacher, student, [stop], completions)
    assert [item.dropped for item in scored] == [DropReason.TEACHER_CONTEXT, DropReason.NON_FINITE]
    assert not any(item.mask.any() or item.advantages.any() for item in scored)
    assert [len(item.mask) for item in scored] == [len(ids) for ids in completions]
    coverage = total(scored)
    assert coverage.supervised.tokens == coverage.supervised.bytes == 0
    assert coverage.share == 0
    assert coverage.sampled.bytes == len("The quickfox")


def test_empty_responses(sides, student, special):
    """Nothing sampled, the stop alone, and control tokens alone: one unit of signal in all, that of the stop."""
    control, stop = special
    teacher = FakeTeacher(*sides["qwen"])
    scored = scored_by(teacher, student, [stop], [[], [stop], [control], [control, stop]])
    assert [item.mask.tolist() for item in scored] == [[], [True], [False], [False, True]]
    assert [item.advantages.tolist() for item in scored] == [[], [-0.5], [0.0], [0.0, -0.5]]
    assert all(request.response_ids == [] for request in teacher.requests)
    assert total(scored).sampled.tokens == 4
    assert total(scored).share == 1


def test_a_dropped_empty_response_is_counted_too(sides, student, special):
    control, stop = special
    teacher = FakeTeacher(*sides["qwen"], [too_long, poisoned_stop(math.nan)])
    scored = scored_by(teacher, student, [stop], [[control, stop], [stop]])
    coverage = total(scored)
    assert {reason: count.tokens for reason, count in coverage.dropped.items()} == {
        DropReason.SPECIAL_TOKEN: 1,
        DropReason.TEACHER_CONTEXT: 1,
        DropReason.NON_FINITE: 1,
    }
    assert coverage.supervised.tokens == 0


MISSING = b"\xe7\x04"
"""Bytes that a teacher's vocabulary lacks; `界` begins with the first."""


@pytest.fixture(scope="module")
def lacking() -> tuple[Any, ByteVocab]:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=without_entries(MISSING), eos_token="<|im_end|>")
    ensure_template(tokenizer)
    return tokenizer, ByteVocab.from_tokenizer(tokenizer)


def test_a_byte_that_the_teacher_cannot_spell_loses_its_chunk_alone(lacking, student, special):
    """The teacher reads byte by byte, so every token of the student is a chunk."""
    text = "42 界 = 6 * 7"
    ids = [*student.encode(text).ids.tolist(), special[1]]
    teacher = FakeTeacher(*lacking)
    (item,) = scored_by(teacher, student, special[1:], [ids])
    remaining = iter(score_of(teacher.requests[0]).logprobs.tolist())
    expected = []
    for token, own in zip(ids[:-1], student_logprobs(ids).tolist(), strict=False):
        piece = student.pieces[token]
        expected.append(0.0 if piece == b"\xe7" else sum(next(remaining) for _ in piece) - own)
    assert next(remaining, None) is None
    assert expected.count(0.0) == 1
    np.testing.assert_allclose(item.advantages, np.array([*expected, -0.5]), rtol=1e-4, atol=1e-5)
    assert item.mask.tolist() == [value != 0 for value in expected] + [True]
    coverage = item.coverage
    assert set(coverage.dropped) == {DropReason.UNENCODABLE}
    lost = coverage.dropped[DropReason.UNENCODABLE]
    assert (lost.tokens, lost.bytes) == (1, 1)
    assert coverage.sampled.tokens == len(ids)
    assert item.gap_bytes == coverage.supervised.bytes == len(text.encode()) - 1


@given(data=st.data())
def test_just_the_chunks_with_a_byte_that_the_teacher_cannot_spell_are_lost(sides, lacking, data):
    _, vocab = sides[data.draw(st.sampled_from(NAMES), "student")]
    holed = [token for token, piece in enumerate(vocab.pieces) if set(piece) & set(MISSING)]
    token = st.sampled_from(holed) | st.sampled_from(np.flatnonzero(vocab.lengths).tolist())
    ids = data.draw(st.lists(token, max_size=10), "ids")
    (item,) = scored_by(FakeTeacher(*lacking), vocab, [], [ids])
    own = [vocab.pieces[token] for token in ids]
    others = [match.group() for match in re.finditer(rb"ab|.", b"".join(own), re.DOTALL)]
    lost = set()
    for (i, j, _), (next_i, next_j, _) in itertools.pairwise(synchronised(own, others)):
        if set(b"".join(others[j:next_j])) & set(MISSING):
            lost |= set(range(i, next_i))
    assert item.mask.tolist() == [k not in lost for k in range(len(ids))]
    assert item.batch.student.positions.tolist() == np.flatnonzero(item.mask).tolist()
    coverage = item.coverage
    assert (coverage.sampled.tokens, coverage.sampled.bytes) == (len(ids), sum(map(len, own)))
    assert coverage.supervised.bytes == sum(len(piece) for k, piece in enumerate(own) if k not in lost)
    assert coverage.supervised.tokens == len(ids) - len(lost)


# ---- every token is accounted for ------------------------------------------------------------------------------------


@given(data=st.data())
def test_every_sampled_token_and_byte_is_supervised_or_counted_under_a_reason(sides, data):
    _, student = sides[data.draw(st.sampled_from(NAMES), "student")]
    tokenizer, vocab = sides[data.draw(st.sampled_from(NAMES), "teacher")]
    without_bytes = np.flatnonzero(student.lengths == 0).tolist()
    stops = data.draw(st.lists(st.sampled_from(without_bytes), max_size=2, unique=True), "stops")
    token = st.integers(0, len(student) - 1) | st.sampled_from(without_bytes)
    completions = data.draw(st.lists(st.lists(token, max_size=12), min_size=1, max_size=4), "completions")
    stop_unit = data.draw(st.booleans(), "stop_unit")
    failing = data.draw(st.lists(st.booleans(), min_size=len(completions), max_size=len(completions)), "failing")

    def refused(request: TeacherRequest) -> Answer:
        return poisoned(math.nan)(request) if request.response_ids else DropReason.TEACHER_CONTEXT

    teacher = FakeTeacher(tokenizer, vocab, [refused if fails else score_of for fails in failing])
    scored = scored_by(teacher, student, stops, completions, stop_unit=stop_unit)
    for ids, fails, item in zip(completions, failing, scored, strict=True):
        coverage = item.coverage
        assert len(item.mask) == len(item.advantages) == len(item.student_logprobs) == len(ids)
        assert coverage.sampled.tokens == len(ids)
        assert coverage.sampled.bytes == sum(len(student.pieces[token]) for token in ids)
        assert coverage.supervised.tokens == item.mask.sum()
        assert coverage.supervised.bytes == len(student.decode(np.array(ids, dtype=np.int64)[item.mask]))
        assert (item.advantages[~item.mask] == 0).all()
        assert np.isfinite(item.advantages).all()
        stopped = bool(ids) and ids[-1] in stops
        special = sum(not student.pieces[token] for token in ids) - stopped
        assert {reason: count.tokens for reason, count in coverage.dropped.items() if count.tokens} == {
            reason: tokens
            for reason, tokens in {
                DropReason.SPECIAL_TOKEN: special,
                DropReason.STOP_TOKEN: int(stopped and not stop_unit and not fails),
                item.dropped: (len(ids) - special) if fails else 0,
            }.items()
            if tokens
        }
    whole = total(scored).as_dict()
    assert whole["sampled_tokens"] == whole["supervised_tokens"] + sum(whole["dropped_tokens"].values())
    assert whole["sampled_bytes"] == whole["supervised_bytes"] + sum(whole["dropped"].values())
    assert whole["sampled_tokens"] == sum(map(len, completions))
