"""The algorithm's face: several teachers, tools and remote teachers give what each part gives alone."""

from typing import Any

import numpy as np
import pytest
import torch

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.distill import Distiller, Rollout, Routing, ScoredBatch
from crossdistill.distill.student import StudentLogprobs
from crossdistill.errors import TeacherUnavailableError
from crossdistill.ops import LMHead
from crossdistill.teachers import TeacherScore
from tests.distill.fake_teacher import FakeTeacher, score_of, student_logprobs, too_long

QUESTION = [{"role": "user", "content": "?"}]
TEXTS = ("The quick brown fox", "12 + 30 = 42", "naïve café 你好")
NAMES = ("a", "b")


def old(completions: list[list[int]]) -> list[np.ndarray]:
    return [student_logprobs(ids) for ids in completions]


def scored(distiller: Distiller, completions: list[list[int]], **options: Any) -> ScoredBatch:
    return distiller.score([QUESTION] * len(completions), completions, old(completions), **options)


def assert_rows_equal(ours: ScoredBatch, row: int, theirs: ScoredBatch, other: int) -> None:
    size = len(ours.rollout.completion_ids[row])
    for name in ("advantages", "loss_mask", "old_logprobs"):
        assert torch.equal(getattr(ours, name)[row, :size], getattr(theirs, name)[other, :size]), name


def test_shapes_padding_and_counts(tokenizer, teachers, completions):
    batch = scored(Distiller(tokenizer, teachers["a"]), [*completions, []])
    width = max(map(len, completions))
    assert batch.advantages.shape == batch.loss_mask.shape == batch.old_logprobs.shape == (4, width)
    assert (batch.advantages.dtype, batch.loss_mask.dtype) == (torch.float32, torch.bool)
    for row, ids in enumerate([*completions, []]):
        assert not batch.loss_mask[row, len(ids) :].any()
        assert not batch.advantages[row, len(ids) :].any()
        assert not batch.old_logprobs[row, len(ids) :].any()
        assert batch.old_logprobs[row, : len(ids)].tolist() == student_logprobs(ids).tolist()
    assert batch.num_items == batch.weight == int(batch.loss_mask.sum()) == sum(map(len, completions))
    assert batch.coverage.share == 1.0
    nothing = scored(Distiller(tokenizer, teachers["a"]), [[]])
    assert (nothing.weight, nothing.num_items, tuple(nothing.advantages.shape)) == (0, 1, (1, 0))


def test_the_data_names_a_teacher(tokenizer, teachers, completions):
    both = scored(Distiller(tokenizer, teachers), completions, teachers=["a", "b", "a"])
    assert [item.teacher_name for item in both.responses] == ["a", "b", "a"]
    for name in NAMES:
        alone = scored(Distiller(tokenizer, teachers[name]), completions)
        for row in range(3):
            if both.responses[row].teacher_name == name:
                assert_rows_equal(both, row, alone, row)
    with pytest.raises(InputError, match="the column 'teacher' says None, which is not one of the teachers: a, b"):
        scored(Distiller(tokenizer, teachers), completions)


def test_rules_route_and_weights_average(tokenizer, teachers, completions):
    prompts = [[{"role": "user", "content": text}] for text in ("sum", "write", "sum")]
    routing = Routing(NAMES, rules={"a": "sum", "b": ""})
    routed = Distiller(tokenizer, teachers, routing=routing).score(prompts, completions, old(completions))
    assert [item.teacher_name for item in routed.responses] == ["a", "b", "a"]

    weighted = scored(Distiller(tokenizer, teachers, routing=Routing(NAMES, weights={"a": 3, "b": 1})), completions)
    alone = [scored(Distiller(tokenizer, teachers[name]), completions) for name in NAMES]
    expected = (3 * alone[0].advantages + alone[1].advantages) / 4
    torch.testing.assert_close(weighted.advantages, expected)
    assert [len(item.others) for item in weighted.responses] == [1, 1, 1]


def test_turns_between_tool_results_are_scored_by_themselves(tokenizer, teachers, completions):
    first, second, _ = completions
    result = [7, 8, 9]
    ids = [*first, *result, *second]
    mask = [1] * len(first) + [0] * len(result) + [1] * len(second)
    talk = [
        {"role": "assistant", "content": "one"},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "two"},
    ]
    teacher, logprobs = teachers["a"], np.concatenate(old([first, result, second]))
    distiller = Distiller(tokenizer, teacher)
    batch = distiller.score([QUESTION], [ids], [logprobs], sampled_masks=[mask], conversations=[talk])
    assert [turn.prompt for turn in batch.rollout.turns] == [QUESTION, [*QUESTION, *talk[:2]]]
    assert [len(request.response_ids) for request in teacher.requests] == [
        len(item.encoding.ids) for item in batch.responses
    ]
    assert not batch.loss_mask[0, len(first) : len(first) + len(result)].any()
    apart = distiller.score([turn.prompt for turn in batch.rollout.turns], [first, second], old([first, second]))
    ends = [len(first), len(first) + len(result)]
    assert torch.equal(batch.advantages[0, : ends[0]], apart.advantages[0, : len(first)])
    assert torch.equal(batch.advantages[0, ends[1] :], apart.advantages[1, : len(second)])
    assert batch.num_items == apart.num_items


def test_rows_name_their_groups(tokenizer, teachers, completions):
    distiller = Distiller(tokenizer, teachers["a"])
    assert scored(distiller, completions, groups=["x", "y", "x"]).rollout.groups == [0, 1, 0]
    assert scored(distiller, completions).rollout.groups == [0, 1, 2]  # equal prompts are no group
    with pytest.raises(InputError, match="groups has 2 entries for 3 prompts: give one for each"):
        scored(distiller, completions, groups=[0, 0])


class Remote(FakeTeacher):
    is_remote = True


def test_a_remote_teacher_gives_the_same_batch_in_parts(sides, tokenizer, completions):
    local, remote = (Distiller(tokenizer, kind(*sides["gemma"])) for kind in (FakeTeacher, Remote))
    whole = scored(local, completions)
    parts = []
    for ids in (completions[:2], completions[2:]):
        prompt_ids = [remote.renderer.render(QUESTION)] * len(ids)
        parts.append(remote.submit(Rollout.of([QUESTION] * len(ids), prompt_ids, ids)))
    stops = [position for part in parts for position in part.stop_positions]
    rows = old(completions)
    student = StudentLogprobs(rows, [float(row[stop]) for row, stop in zip(rows, stops, strict=True)])
    batch = remote.collect(parts, student)
    assert batch.rollout == whole.rollout
    for row in range(3):
        assert_rows_equal(batch, row, whole, row)
    local.is_verified = remote.is_verified = True  # the states are made up
    states, head = torch.randn(int(batch.loss_mask.sum()), 4), LMHead(torch.randn(len(remote.vocab), 4))
    losses = [one.loss(made, states, head).item() for one, made in ((local, whole), (remote, batch))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    with remote.cancelled_on_error():
        pass


def test_an_error_ends_the_wait_and_closes_the_teacher(sides, tokenizer, completions):
    def fails(request: Any) -> TeacherScore:
        raise TeacherUnavailableError("gone")

    teacher, closed = Remote(*sides["gemma"], [fails]), []
    teacher.close = lambda: closed.append(True)
    with pytest.raises(TeacherUnavailableError, match="gone"):
        scored(Distiller(tokenizer, teacher), completions)
    assert closed == [True]


def test_rows_of_a_batch_in_any_order(sides, tokenizer, completions):
    """What a micro-batch takes of a batch is what these responses are by themselves, also after one was dropped."""
    answers = [score_of, too_long, score_of]
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"], answers))
    batch = scored(distiller, completions)
    assert [item.dropped for item in batch.responses] == [None, DropReason.TEACHER_CONTEXT, None]
    torch.manual_seed(0)
    head = LMHead(torch.randn(len(distiller.vocab), 4))
    states = torch.randn(3, batch.loss_mask.shape[1], 4)
    distiller.is_verified = True  # the states are made up
    whole = distiller.loss(batch, states, head)
    for rows in ([2, 0], [0], [2], [1], [1, 2, 0]):
        found = distiller.loss_sum(batch, rows, states[rows], head)
        expected = sum(distiller.loss_sum(batch, [row], states[[row]], head).total for row in rows)
        assert found.total.item() == pytest.approx(float(expected), rel=1e-6, abs=1e-7)
    assert distiller.loss_sum(batch, [1], states[[1]], head).total.item() == 0
    assert whole.item() == pytest.approx(distiller.loss_sum(batch, [2, 1, 0], states[[2, 1, 0]], head).total.item())


def test_prompts_of_any_form_are_read_alike(sides, tokenizer, completions):
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "dpca")
    message = {"role": "user", "content": "two + two?"}
    forms = [[message], f"{[message]}", [{**message, "name": None, "tool_calls": []}]]
    logprobs = [[-1.0] * len(ids) for ids in completions]
    batch = distiller.score(forms, completions, logprobs)
    assert batch.rollout.prompts == [[message]] * 3
    assert [item.prompt for item in batch.responses] == [[message]] * 3
    with pytest.raises(InputError, match="prompt 1 is a text that begins like a conversation"):
        distiller.score(["a", '[{"role": "user", "content": "Hi', "b"], completions, logprobs)
