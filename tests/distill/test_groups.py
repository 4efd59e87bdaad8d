"""Groups of responses on their way to an objective that compares them: who leaves one, and how it is counted."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.distill import Distiller, Rollout
from crossdistill.distill.routing import Routing
from crossdistill.distill.student import StudentLogprobs
from crossdistill.objectives.gvpo import GVPO
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.objectives.shared.vocab_pair import VocabPair
from tests.distill.fake_teacher import FakeTeacher, poisoned, score_of, student_logprobs, too_long
from tests.distill.test_coverage import lacking  # noqa: F401 - a fixture
from tests.oracles import gvpo as oracle
from tests.tokenizers_in_process import build

QUESTION = [{"role": "user", "content": "?"}]
TEXTS = ("The quick", "12 + 30 = 42", "naïve café", "brown fox", "jumps", "over the dog")


@pytest.fixture
def answers(tokenizer, student) -> list[list[int]]:
    return [[*student.encode(text).ids.tolist(), tokenizer.eos_token_id] for text in TEXTS]


def scored(teacher: Any, tokenizer: Any, completions: Any, groups: Any, **options: Any) -> Any:
    """With made-up log-probabilities of the student; its stop mass is that of the stop itself."""
    logprobs = [student_logprobs(ids) for ids in completions]
    distiller = Distiller(tokenizer, teacher, "gvpo", **options)
    return distiller.score([QUESTION] * len(completions), completions, logprobs, groups=groups)


def gap(item: Any) -> float:
    """d of a response that is scored whole, from what both sides were told."""
    teacher = item.teacher.logprobs.sum(dtype=np.float64) + (item.teacher.stop_logprob or 0.0)
    return float(item.student_logprobs.sum(dtype=np.float64) - teacher)


def assert_compared(responses: list[Any]) -> None:
    """With each other, and with nobody else."""
    for item, expected in zip(responses, oracle.advantages([gap(one) for one in responses]), strict=True):
        assert item.mask.all() and (item.dropped, item.weight) == (None, 1.0)
        np.testing.assert_allclose(item.advantages, expected, rtol=1e-5, atol=1e-5)
        assert item.batch.groups.sizes.tolist() == [len(responses)]


def assert_left(item: Any, reason: DropReason) -> None:
    """Without a signal, and with all of its tokens and bytes under the reason."""
    assert (item.dropped, item.weight, item.mask.any(), item.advantages.any()) == (reason, 0.0, False, False)
    counts = item.coverage.dropped
    assert counts[reason].bytes == len(item.response.data)
    assert sum(count.tokens for count in counts.values()) == len(item.response.ids)
    assert item.coverage.supervised.tokens == 0


def test_responses_are_compared_within_their_group(sides, tokenizer, answers):
    batch = scored(FakeTeacher(*sides["gemma"]), tokenizer, answers, ["x", "y", "x", "y", "x", "y"])
    assert_compared(batch.responses[::2])
    assert_compared(batch.responses[1::2])
    assert batch.weight == 6
    together = batch.responses[0].group
    assert together.groups.sizes.tolist() == [3] * 6
    assert all(item.group is together for item in batch.responses)


@pytest.mark.parametrize(
    ("answer", "reason"), [(too_long, DropReason.TEACHER_CONTEXT), (poisoned(math.nan), DropReason.NON_FINITE)]
)
def test_a_response_that_the_teacher_drops_leaves_its_group(sides, tokenizer, answers, answer, reason):
    teacher = FakeTeacher(*sides["gemma"], [score_of, answer])
    batch = scored(teacher, tokenizer, answers, [0, 0, 0, 1, 1, 1])
    assert_left(batch.responses[1], reason)
    assert_compared([batch.responses[0], batch.responses[2]])
    assert_compared(batch.responses[3:])
    assert batch.weight == 5


@dataclass(frozen=True)
class WithoutEnds(GVPO):
    """Takes a run that does not teach the end of a response."""

    def check(self, pair: VocabPair) -> None:
        return


def test_a_response_whose_end_is_not_scored_is_not_whole(sides, tokenizer, answers):
    answers[:2] = answers[0][:-1], answers[1][:-1]
    logprobs = [student_logprobs(ids) for ids in answers]
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"]), WithoutEnds(), stop_unit=False)
    batch = distiller.score([QUESTION] * 6, answers, logprobs, groups=[0, 0, 0, 1, 1, 1])
    assert_compared(batch.responses[:2])  # these were cut before an end
    for item in batch.responses[2:]:
        assert_left(item, DropReason.INCOMPLETE)


def test_the_last_one_of_a_group_has_none_to_be_compared_with(sides, tokenizer, answers):
    teacher = FakeTeacher(*sides["gemma"], [score_of, too_long])
    batch = scored(teacher, tokenizer, answers, [0, 0, 1, 1, 1, 1])
    assert_left(batch.responses[0], DropReason.ALONE)
    assert_left(batch.responses[1], DropReason.TEACHER_CONTEXT)
    assert_compared(batch.responses[2:])
    assert batch.coverage.dropped[DropReason.ALONE].bytes == len(TEXTS[0])


def test_a_response_with_a_control_token_inside_is_not_whole(sides, tokenizer, answers, special):
    control, _ = special
    answers[0].insert(1, control)
    batch = scored(FakeTeacher(*sides["gemma"]), tokenizer, answers, [0, 0, 0, 1, 1, 1])
    assert_left(batch.responses[0], DropReason.INCOMPLETE)
    assert batch.responses[0].coverage.dropped[DropReason.SPECIAL_TOKEN].tokens == 1
    assert_compared(batch.responses[1:3])


def test_a_response_that_the_teacher_cannot_spell_is_not_whole(lacking, tokenizer, student, answers):  # noqa: F811
    answers[0] = [*student.encode("a 界 b").ids.tolist(), tokenizer.eos_token_id]
    batch = scored(FakeTeacher(*lacking), tokenizer, answers, [0, 0, 0, 1, 1, 1])
    assert_left(batch.responses[0], DropReason.INCOMPLETE)
    assert_compared(batch.responses[1:3])


def test_an_empty_response_is_not_whole_and_a_stop_alone_is(sides, tokenizer, answers):
    answers[:2] = [], [tokenizer.eos_token_id]
    batch = scored(FakeTeacher(*sides["gemma"]), tokenizer, answers, [0, 0, 0, 1, 1, 1])
    assert (batch.responses[0].dropped, batch.responses[0].coverage.sampled.tokens) == (DropReason.INCOMPLETE, 0)
    assert_compared(batch.responses[1:3])


def test_truncated_responses_are_compared_as_far_as_they_go(sides, tokenizer, answers):
    answers[0] = answers[0][:-1]
    batch = scored(FakeTeacher(*sides["gemma"]), tokenizer, answers, [0, 0, 0, 1, 1, 1])
    assert batch.responses[0].teacher.stop_logprob is None
    assert_compared(batch.responses[:3])


def test_a_response_that_was_sampled_alone_keeps_its_scores(sides, tokenizer, answers, special):
    """In evaluation and reports: it has no part in a loss, whole or not."""
    answers[0].insert(1, special[0])
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "gvpo")
    rollout = Rollout.of([QUESTION] * 2, [[1]] * 2, answers[:2])
    pending = distiller.submit(rollout)
    logprobs = [student_logprobs(ids) for ids in answers[:2]]
    batch = distiller.collect([pending], StudentLogprobs(logprobs, [float(row[-1]) for row in logprobs]))
    assert batch.weight == 0
    for item in batch.responses:
        assert item.dropped is None and item.teacher is not None and not item.advantages.any()
        assert item.gap_bytes == len(item.response.data)


def test_a_group_goes_to_the_teacher_of_its_prompt(sides, tokenizer, answers):
    teachers = {name: FakeTeacher(*sides[name]) for name in ("gemma", "qwen")}
    logprobs = [student_logprobs(ids) for ids in answers]
    distiller = Distiller(tokenizer, teachers, "gvpo", routing=Routing(("gemma", "qwen")))
    names = ["gemma", "qwen"] * 3
    batch = distiller.score([QUESTION] * 6, answers, logprobs, teachers=names, groups=names)
    assert [item.teacher_name for item in batch.responses] == names
    assert_compared(batch.responses[::2])
    assert_compared(batch.responses[1::2])


def test_parts_that_were_submitted_apart_are_groups_apart(sides, tokenizer, answers):
    """Both have a group 0."""
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "gvpo")
    parts = [
        distiller.submit(Rollout.of([QUESTION] * 3, [[1]] * 3, own, groups=[0] * 3))
        for own in (answers[:3], answers[3:])
    ]
    logprobs = [student_logprobs(ids) for ids in answers]
    batch = distiller.collect(parts, StudentLogprobs(logprobs, [float(row[-1]) for row in logprobs]))
    assert_compared(batch.responses[:3])
    assert_compared(batch.responses[3:])
    assert batch.rollout.groups == [0, 0, 0, 1, 1, 1]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2]])
def test_a_response_without_companions_is_refused(sides, tokenizer, answers, groups):
    row = 0 if groups is None else 2
    with pytest.raises(
        InputError, match=rf"compares the responses to one prompt, and row {row} is alone.*groups=\.\.\."
    ):
        scored(FakeTeacher(*sides["gemma"]), tokenizer, answers, groups)


def test_an_end_that_is_not_taught_is_refused(sides, tokenizer):
    with pytest.raises(InputError, match="their end included: leave stop_unit on"):
        Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "gvpo", stop_unit=False)


def test_tools_are_refused(sides, tokenizer, answers):
    def add(a: int, b: int) -> int:
        """Add.

        Args:
            a: one.
            b: other.
        """
        return a + b

    message = "compares whole responses, and with tools each turn is scored by itself"
    with pytest.raises(InputError, match=message):
        Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "gvpo", tools=[add])
    ids = [*answers[0], 5, *answers[1]]
    mask = [1] * len(answers[0]) + [0] + [1] * len(answers[1])
    talk = [{"role": role, "content": "x"} for role in ("assistant", "tool", "assistant")]
    distiller = Distiller(tokenizer, FakeTeacher(*sides["gemma"]), "gvpo")
    logprobs = [student_logprobs(ids)] * 2
    with pytest.raises(InputError, match=message):
        distiller.score(
            [QUESTION] * 2, [ids] * 2, logprobs, sampled_masks=[mask] * 2, conversations=[talk] * 2, groups=[0, 0]
        )


def test_teachers_that_share_a_response_are_refused(sides):
    teachers = {name: FakeTeacher(*sides[name]) for name in ("gemma", "qwen")}
    routing = Routing(("gemma", "qwen"), weights={"gemma": 1.0, "qwen": 1.0})
    with pytest.raises(InputError, match="objective 'gvpo' learns from one teacher a response"):
        Distiller(build("gpt2"), teachers, "gvpo", routing=routing)


# ---- the record ------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_whole_group():
    groups = ResponseGroups.of([4, 9, 4, 4])
    assert (groups.ids.tolist(), groups.sizes.tolist()) == ([4, 9, 4, 4], [3, 1, 3, 3])
    part = groups.select([3, 1])
    assert (part.ids.tolist(), part.sizes.tolist()) == ([4, 9], [3, 1])
    both = ResponseGroups.concatenate([part, groups.select([0])])
    assert (both.ids.tolist(), both.sizes.tolist()) == ([4, 9, 4], [3, 1, 3])
