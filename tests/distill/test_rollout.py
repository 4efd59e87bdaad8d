"""Completions cut into turns, against the obvious walk over their tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import InputError
from crossdistill.distill.rollout import Rollout, Turn, pad
from crossdistill.distill.turn_logprobs import TurnLogprobs

QUESTION = [{"role": "user", "content": "?"}]


def said(number):
    return {"role": "assistant", "content": f"turn {number}"}


def conversation(num_turns, ends_with_result=False):
    messages = []
    for number in range(num_turns):
        messages += [said(number), {"role": "tool", "content": f"result {number}"}]
    return messages if ends_with_result else messages[:-1]


@st.composite
def completions(draw):
    """(ids, mask, messages): stretches of 1 to 4 sampled tokens, results of 1 to 3 tokens between them."""
    num_turns = draw(st.integers(1, 4))
    ends_with_result = draw(st.booleans())
    mask = []
    for number in range(num_turns):
        mask += [1] * draw(st.integers(1, 4))
        if number < num_turns - 1 or ends_with_result:
            mask += [0] * draw(st.integers(1, 3))
    ids = draw(st.lists(st.integers(0, 99), min_size=len(mask), max_size=len(mask)))
    return ids, mask, conversation(num_turns, ends_with_result)


def turns_by_walking(row, ids, mask, messages):
    """One token after the other: a turn begins at a sampled token after one that is not."""
    turns, before = [], 0
    answers = [k for k, message in enumerate(messages) if message["role"] == "assistant"]
    for place, (token, sampled) in enumerate(zip(ids, mask, strict=True)):
        if sampled and not before:
            history = messages[: answers[len(turns)]]
            turns.append(Turn(row, place, [], [*QUESTION, *history]))
        if sampled:
            turns[-1].ids.append(token)
        before = sampled
    return turns


@given(st.lists(completions(), min_size=1, max_size=4))
def test_turns(rows):
    ids, masks, messages = (list(column) for column in zip(*rows, strict=True))
    prompt_ids = [[7] * (k + 1) for k in range(len(rows))]
    rollout = Rollout.of([QUESTION] * len(rows), prompt_ids, ids, masks, messages)
    expected = [turn for row, parts in enumerate(rows) for turn in turns_by_walking(row, *parts)]
    assert rollout.turns == expected
    assert rollout.num_tool_tokens == sum(mask.count(0) for mask in masks)
    assert rollout.num_prompt_tokens == sum(map(len, prompt_ids))
    for turn in rollout.turns:
        assert turn.has_sampled_text == any(message["role"] == "assistant" for message in turn.prompt)
        assert rollout.prefix(turn) == (*prompt_ids[turn.row], *ids[turn.row][: turn.start])
    at_end = [turn.row for turn in rollout.turns if rollout.is_at_end(turn)]
    assert at_end == [row for row, mask in enumerate(masks) if mask[-1]]

    scattered = rollout.scatter([np.array(turn.ids) + 1 for turn in rollout.turns])
    for row, (values, mask) in enumerate(zip(scattered, masks, strict=True)):
        assert values.tolist() == [(token + 1) * sampled for token, sampled in zip(ids[row], mask, strict=True)]
    gathered = rollout.gather([np.array(row) for row in ids])
    assert [part.tolist() for part in gathered] == [turn.ids for turn in rollout.turns]
    assert [len(row) for row in rollout.by_row(rollout.turns)] == [
        sum(turn.row == row for turn in rollout.turns) for row in range(len(rows))
    ]


def test_without_tools_a_completion_is_one_turn():
    rollout = Rollout.of(["a text", QUESTION], [[1], [2]], [[3, 4], [5]], None, None)
    assert rollout.turns == [Turn(0, 0, [3, 4], "a text"), Turn(1, 0, [5], QUESTION)]
    assert rollout.num_tool_tokens == 0
    assert all(map(rollout.is_at_end, rollout.turns))


def test_mask_and_messages_must_tell_of_the_same_turns():
    with pytest.raises(ValueError, match="2 sampled stretches and 1 messages of the assistant"):
        Rollout.of([QUESTION], [[1]], [[2, 3, 4]], [[1, 0, 1]], [conversation(1)])


def test_log_probabilities_are_found_by_what_stood_before_a_turn():
    """Two rows of one prefix take theirs in order; a turn that was cut has the first ones; a stop has its own mass."""
    rollout = Rollout.of(
        [QUESTION] * 3,
        [[1], [1], [2]],
        [[10, 0, 11], [10], [12]],
        [[1, 0, 1], [1], [1]],
        [conversation(2), conversation(1), conversation(1)],
    )
    kept = TurnLogprobs()
    rows = [np.array([-1.0]), np.array([-2.0]), np.array([-3.0, -9.0])]
    kept.record([[1], [1], [2]], rows, [row / 2 for row in rows])
    assert kept.take(rollout, [None] * 4) is None  # it is not known of all, and what is known is forgotten
    kept.record([[1], [1], [2]], rows, [row / 2 for row in rows])
    kept.record([[1, 10, 0]], [np.array([-4.0, -9.0])], [np.array([-0.5, -0.1])])
    tokens, stops = kept.take(rollout, [None, 0, 0, None])
    assert [row.tolist() for row in tokens] == [[-1.0], [-4.0], [-2.0], [-3.0]]
    assert stops == [None, -0.5, -1.0, None]
    assert kept.take(rollout, [None] * 4) is None  # each batch has its own


def test_rows_are_padded_to_the_longest():
    out = pad([np.array([True]), np.array([True, False, True])])
    assert out.tolist() == [[True, False, False], [True, False, True]]
    assert out.dtype == torch.bool


def test_groups_are_numbered_as_they_appear():
    """Whatever names them; a row that names none is alone."""
    rollout = Rollout.of(["a", "b", "a"], [[1], [2], [1]], [[4], [5], [6]], groups=["x", 7, "x"])
    assert rollout.groups == [0, 1, 0]
    assert (rollout.first(2).groups, rollout.row(2).groups) == ([0, 1], [0])
    alone = Rollout.of(["a", "a"], [[1], [1]], [[4], [4]])
    assert alone.groups == [0, 1]
    assert Rollout.concatenate([rollout, alone, rollout]).groups == [0, 1, 0, 2, 3, 4, 5, 4]


@pytest.mark.parametrize(
    ("groups", "teachers", "message"),
    [
        ([0, 0], None, "rows 0 and 1 are of one group and have different prompts"),
        ([0, 1, 0], ["x", "x", "y"], "rows 0 and 2 are of one group and have different teachers"),
        ([0], None, "groups has 1 entries for 2 prompts"),
    ],
)
def test_a_group_answers_one_prompt(groups, teachers, message):
    prompts = ["a", "b", "a"][: 2 if teachers is None else 3]
    ids = [[1]] * len(prompts)
    with pytest.raises(InputError, match=message):
        Rollout.of(prompts, ids, ids, teachers=teachers, groups=groups)


def test_concatenated_parts_are_the_whole():
    whole = Rollout.of(["a", "b", "c"], [[1], [2, 2], [3]], [[4], [5, 6], [7]], None, None)
    first = Rollout.of(["a", "b"], [[1], [2, 2]], [[4], [5, 6]], None, None)
    assert Rollout.concatenate([first, Rollout.of(["c"], [[3]], [[7]], None, None)]) == whole
    assert Rollout.concatenate([whole]) == whole
