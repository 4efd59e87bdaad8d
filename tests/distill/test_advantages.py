"""From sampled ids to advantages, with a teacher that answers what it is told."""

import numpy as np
import pytest

from crossdistill.align import DropReason
from crossdistill.chat import render_prompt
from crossdistill.objectives import get
from tests.distill.fake_teacher import (
    PROMPT,
    FakeTeacher,
    expected_advantages,
    score_of,
    scored,
    scored_by,
    student_logprobs,
    total,
)
from tests.tokenizers_in_process import NAMES, build


@pytest.mark.parametrize("teacher_name", NAMES)
@pytest.mark.parametrize("stop_unit", [True, False])
def test_advantages_are_those_of_each_response_alone(sides, student, special, teacher_name, stop_unit):
    control, stop = special
    completions = [
        [*student.encode("The quick brown fox, 120 ...]").ids, stop],
        [*student.encode("naïve 你好 🤗").ids],
        [control, *student.encode("42").ids, control, *student.encode("= 6 * 7").ids, stop],
        student.encode("你").ids.tolist()[:2],
        [stop],
        [],
        [control],
    ]
    teacher = FakeTeacher(*sides[teacher_name])
    scored = scored_by(teacher, student, [stop], completions, stop_unit=stop_unit)
    for ids, item in zip(completions, scored, strict=True):
        expected = expected_advantages(item.response, student, teacher, stop_unit)
        assert item.advantages.dtype == np.float32
        np.testing.assert_allclose(item.advantages, np.array(expected), rtol=1e-4, atol=1e-5)
        mask = [bool(student.pieces[token]) for token in ids]
        if ids and ids[-1] == stop:
            mask[-1] = stop_unit
        assert item.mask.tolist() == mask
        assert item.dropped is None
    assert any(np.abs(item.advantages).max(initial=0) > 0.5 for item in scored)
    assert total(scored).sampled.tokens == sum(map(len, completions))


def test_the_stop_unit_compares_masses_and_not_the_sampled_token(sides, student, special):
    _, stop = special
    ids = [*student.encode("42").ids, stop]
    (item,) = scored_by(FakeTeacher(*sides["gemma"]), student, [stop], [ids])
    assert item.advantages[-1] == pytest.approx(-0.75 - -0.25)
    assert student_logprobs(ids)[-1] != pytest.approx(-0.25)


def test_requests_hold_the_teachers_own_prompt_and_tokens(sides, student, special):
    _, stop = special
    tokenizer, vocab = sides["gemma"]
    teacher = FakeTeacher(tokenizer, vocab)
    text = "The answer is 12. 🤗"
    ids = student.encode(text).ids.tolist()
    scored = scored_by(teacher, student, [stop], [[*ids, stop], ids])
    for request, stopped, item in zip(teacher.requests, [True, False], scored, strict=True):
        assert request.prompt_ids == render_prompt(tokenizer, PROMPT)
        assert request.response_ids == vocab.encode(text).ids.tolist()
        assert request.stopped is stopped
        assert item.num_teacher_tokens == len(request.prompt_ids) + len(request.response_ids)
        assert item.encoding.ids.tolist() == request.response_ids


def test_template_arguments_reach_the_teachers_template(student, vocabs, special):
    tokenizer = build("llama3")
    tokenizer.chat_template = "{{ messages[0].content }}{{ closing }}"
    teacher = FakeTeacher(tokenizer, vocabs["llama3"])
    options = {"template_kwargs": {"closing": " Answer:"}}
    scored_by(teacher, student, special[1:], [student.encode("42").ids.tolist()], **options)
    assert vocabs["llama3"].decode(teacher.requests[0].prompt_ids) == b"? Answer:"


def test_without_the_stop_unit_the_teacher_is_not_asked_for_it(sides, student, special):
    _, stop = special
    teacher = FakeTeacher(*sides["qwen"])
    (item,) = scored_by(teacher, student, [stop], [[*student.encode("42").ids, stop]], stop_unit=False)
    assert not teacher.requests[0].stopped
    assert item.response.stop_position is not None
    assert not item.mask[-1]
    assert item.advantages[-1] == 0
    dropped = total([item]).dropped
    assert {reason: count.tokens for reason, count in dropped.items()} == {DropReason.STOP_TOKEN: 1}


def test_the_gap_is_that_of_the_text(sides, student, special):
    control, stop = special
    ids = [control, *student.encode("The sum is 42").ids, stop]
    teacher = FakeTeacher(*sides["llama2"])
    (item,) = scored_by(teacher, student, [stop], [ids])
    own = student_logprobs(ids)[1:-1].astype(float).sum()
    assert item.gap_nats == pytest.approx(own - score_of(teacher.requests[0]).logprobs.astype(float).sum(), abs=1e-5)
    assert item.gap_bytes == len("The sum is 42")


def test_time_is_kept_by_part(sides, student, special):
    rows = [student.encode("42").ids.tolist()]
    _, timers = scored(get("dpca"), FakeTeacher(*sides["gemma"]), student, special[1:], rows)
    seconds = timers.take()
    total = seconds.pop("total")
    assert set(seconds) == {"align", "render", "teacher", "credit"}
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) <= total
    assert set(timers.take()) == {"total"}
