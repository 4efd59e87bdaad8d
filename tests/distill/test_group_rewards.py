"""A reward beside the teacher: what it adds to which token."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.distill import Distiller, ScoredBatch
from crossdistill.distill.group_rewards import group_advantages
from crossdistill.objectives import get
from tests.distill.fake_teacher import PROMPT, FakeTeacher, score_of, student_logprobs, too_long
from tests.distill.test_reference import lacking
from tests.objectives.test_gvpo import GROUPS as GROUPS_OF_GVPO
from tests.objectives.test_gvpo import grouped, log_ratios
from tests.oracles import reward as oracle

GROUPS = [0, 0, 0, 1, 1, 1]
REWARDS = [1.0, 0.0, 0.0, 2.0, None, -1.0]
SCALED = [math.sqrt(2), -math.sqrt(0.5), -math.sqrt(0.5), 1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("rewards", "groups", "expected"),
    [
        ([1.0, 0.0], [0, 0], [1.0, -1.0]),
        ([1.0, 0.0, 0.0, 0.0], [0] * 4, [math.sqrt(3), *[-1 / math.sqrt(3)] * 3]),
        ([5.0, 3.0, 1.0], ["a"] * 3, [math.sqrt(1.5), 0.0, -math.sqrt(1.5)]),
        (REWARDS, GROUPS, SCALED),
        ([1.0, 1.0, 0.0, 0.0], [0, 0, 1, 1], [0.0] * 4),  # differ between groups, which are not compared
        ([1.0, 0.0, 1.0, 0.0], [0, 1, 0, 1], [0.0] * 4),  # rows of a group need not be neighbours
        ([1.0, None], [0, 0], [0.0, 0.0]),
        ([None, None], [0, 0], [0.0, 0.0]),
        ([0.1 + 0.2, 0.3], [0, 0], [0.0, 0.0]),  # equal up to rounding
        ([0.0, 0.0], [0, 0], [0.0, 0.0]),
        ([1e308, -1e308], [0, 0], [1.0, -1.0]),  # whose difference and squares overflow
        ([3e-320, 1e-320, 2e-320], [0] * 3, [math.sqrt(1.5), -math.sqrt(1.5), 0.0]),  # and whose squares vanish
        ([], [], []),
    ],
)
def test_values_by_hand(rewards, groups, expected):
    np.testing.assert_allclose(group_advantages(rewards, groups), expected, atol=1e-12)


@given(
    st.lists(st.tuples(st.none() | st.integers(-3, 3).map(float), st.integers(0, 2)), max_size=12),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_any_rewards_in_any_unit(rows, scale, shift):
    rewards, groups = [reward for reward, _ in rows], [group for _, group in rows]
    ours = group_advantages(rewards, groups)
    np.testing.assert_allclose(ours, oracle.group_advantages(rewards, groups), atol=1e-9)
    moved = [None if reward is None else scale * reward + shift for reward in rewards]
    np.testing.assert_allclose(group_advantages(moved, groups), ours, atol=1e-6)
    for group in set(groups):
        own = ours[[k for k, of in enumerate(groups) if of == group and rewards[k] is not None]]
        if own.any():
            assert own.mean() == pytest.approx(0, abs=1e-9)
            assert (own * own).mean() == pytest.approx(1)


def score(
    tokenizer: Any, teacher: Any, completions: list[list[int]], weight: float = 1.0, **options: Any
) -> ScoredBatch:
    objective = options.pop("objective", "dpca")
    distiller = Distiller(tokenizer, teacher, objective, reward_weight=weight)
    old = [student_logprobs(ids) for ids in completions]
    return distiller.score([PROMPT] * len(completions), completions, old, **options)


def test_every_supervised_token_gets_its_responses_reward(sides, tokenizer, completions):
    completions = completions * 2
    alone = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, groups=GROUPS)
    both = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, 0.5, groups=GROUPS, rewards=REWARDS)
    for row, value in enumerate(SCALED):
        expected = np.where(alone.loss_mask[row], alone.advantages[row] + 0.5 * value, 0.0)
        np.testing.assert_allclose(both.advantages[row], expected, atol=1e-5)
    assert both.loss_mask.tolist() == alone.loss_mask.tolist()
    assert (both.weight, both.coverage.as_dict()) == (alone.weight, alone.coverage.as_dict())
    assert both.advantages.dtype == alone.advantages.dtype


def test_equal_rewards_are_none(sides, tokenizer, completions):
    alone = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, groups=[0] * 3)
    both = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, groups=[0] * 3, rewards=[0.25] * 3)
    assert both.advantages.tolist() == alone.advantages.tolist()


def test_the_reward_is_not_within_the_bound_of_the_teachers_advantages(sides, tokenizer, completions):
    objective = get("dpca", max_advantage=0.5)
    options = {"objective": objective, "groups": [0] * 3}
    alone = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, **options)
    both = score(tokenizer, FakeTeacher(*sides["gemma"]), completions, 4.0, rewards=[1.0, 0.0, 0.5], **options)
    assert alone.advantages.abs().max() == 0.5
    assert both.advantages.max() == pytest.approx(0.5 + 4 * math.sqrt(1.5))


def test_a_token_without_the_teachers_signal_gets_none_and_a_dropped_response_counts_in_its_group(
    sides, tokenizer, student, special, completions
):
    control, stop = special
    completions = [[control, *completions[0]], [*student.encode("a 界 b").ids.tolist(), stop], completions[1]]
    rewards, groups = [1.0, 0.0, 0.0], [0] * 3
    teacher = FakeTeacher(*lacking(b"\xe7"), [score_of, score_of, too_long])
    both = score(tokenizer, teacher, completions, rewards=rewards, groups=groups)
    alone = score(tokenizer, FakeTeacher(*lacking(b"\xe7"), [score_of, score_of, too_long]), completions, groups=groups)
    added = (both.advantages - alone.advantages).numpy()
    assert added[0, 0] == 0
    np.testing.assert_allclose(added[0, 1 : len(completions[0])], math.sqrt(2), atol=1e-5)
    mask = both.loss_mask[1].numpy()
    assert not mask[: len(completions[1])].all()
    np.testing.assert_allclose(added[1][mask], -math.sqrt(0.5), atol=1e-5)
    assert not added[1][~mask].any()
    assert both.responses[2].dropped is DropReason.TEACHER_CONTEXT
    assert not both.advantages[2].any()


def test_turns_of_a_conversation_with_tools_have_its_reward(sides, tokenizer, student, special):
    _, stop = special
    said, result = [[*student.encode(text).ids.tolist(), stop] for text in ("call", "result")]
    final = [*student.encode("the sum is 42").ids.tolist(), stop]
    row = [*said, *result, *final]
    mask = [1] * len(said) + [0] * len(result) + [1] * len(final)
    conversation = [{"role": "assistant", "content": "call"}, {"role": "tool", "content": "result"}]
    conversation.append({"role": "assistant", "content": "the sum is 42"})
    options = {"sampled_masks": [mask] * 2, "conversations": [conversation] * 2, "groups": [0, 0]}
    alone = score(tokenizer, FakeTeacher(*sides["gemma"]), [row, row], **options)
    both = score(tokenizer, FakeTeacher(*sides["gemma"]), [row, row], rewards=[3.0, 1.0], **options)
    added = (both.advantages - alone.advantages).numpy()
    np.testing.assert_allclose(added[0], np.array(mask, dtype=float), atol=1e-6)
    np.testing.assert_allclose(added[1], -np.array(mask, dtype=float), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": [1.0, 0.0]}, "there are 2 rewards for 3 responses: give one, or None, for each"),
        ({"rewards": [1.0, math.nan, 0.0]}, "the reward of response 1 is nan: give a finite number"),
        ({"rewards": [1.0, math.inf, 0.0]}, "the reward of response 1 is inf"),
        ({"rewards": [1.0, 0.0, 0.0], "groups": None}, "each response here is alone: sample several to each prompt"),
        (
            {"rewards": [1.0, 0.0, 0.0], "objective": "strict"},
            "objective 'strict' does not learn by advantages",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_teacher_is_asked(
    sides, tokenizer, completions, options, message
):
    teacher = FakeTeacher(*sides["gemma"])
    teacher.signal = get(options.get("objective", "dpca")).signal
    with pytest.raises(InputError, match=message):
        score(tokenizer, teacher, completions, **{"groups": [0] * 3, **options})
    assert teacher.requests == []


def test_gvpo_has_the_reward_once_a_response():
    """At the policy that sampled, its gradient is that of the responses' log-probabilities times their advantages."""
    whole = grouped()
    inputs, tokens = whole.inputs(), [len(part.student.ids) for part in whole.parts]
    values = torch.from_numpy(0.5 * group_advantages([1.0, 0.0, 0.0, 2.0, 5.0], GROUPS_OF_GVPO))
    rewarded = inputs.advantages + values.repeat_interleave(torch.tensor(tokens))
    ours = torch.autograd.grad(whole.objective.loss(replace(inputs, advantages=rewarded)).total, whole.hidden)
    own = inputs.advantages[np.cumsum([0, *tokens[:-1]])]
    expected = -sum(one * ratio for one, ratio in zip((own + values).detach(), log_ratios(whole), strict=True))
    for got, wanted in zip(ours, torch.autograd.grad(expected, whole.hidden), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)
    assert values.abs().max() > 0.4


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_without_a_meaning_is_refused(sides, tokenizer, weight):
    with pytest.raises(InputError, match="reward_weight must be above 0 and finite"):
        Distiller(tokenizer, FakeTeacher(*sides["gemma"]), reward_weight=weight)
