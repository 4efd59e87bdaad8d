"""Portions of similar prompt length, against all ways to cut; and what a trainer samples in them."""

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdistill.train.generation import GenerationTrainer
from crossdistill.train.rollout_portions import rollout_portions
from tests.models import MESSAGES, Pair
from tests.train.harness import make_trainer
from tests.train.test_old_logprobs import check, compared

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=9)


def padded(lengths: list[int], portions: list[list[int]]) -> int:
    """Prompt tokens that ``generate`` computes: each portion padded to its longest prompt."""
    return sum(len(rows) * max(lengths[row] for row in rows) for rows in portions)


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(0, 60))
def test_every_cut_saves_enough_and_no_other_would(lengths, least):
    portions = rollout_portions(lengths, least)
    assert sorted(row for rows in portions for row in rows) == list(range(len(lengths)))
    for row, other in combinations(range(len(lengths)), 2):
        if lengths[row] == lengths[other]:
            assert any(row in rows and other in rows for rows in portions)
    whole = padded(lengths, [list(range(len(lengths)))])
    assert whole - padded(lengths, portions) >= (len(portions) - 1) * least
    for rows in portions:  # no further cut would save enough
        order = sorted(rows, key=lambda row: lengths[row])
        for cut in range(1, len(order)):
            gain = padded(lengths, [order]) - padded(lengths, [order[:cut], order[cut:]])
            assert gain == 0 or gain < least
    assert len(rollout_portions(lengths, least, max_portions=2)) == min(2, len(portions))


@pytest.mark.parametrize(
    ("lengths", "least", "expected"),
    [
        ([10, 10, 10], 0, [[0, 1, 2]]),
        ([100, 1, 100, 1], 198, [[1, 3], [0, 2]]),
        ([100, 1, 100, 1], 199, [[0, 1, 2, 3]]),
        ([1, 1000, 100, 1], 199, [[0, 3, 2], [1]]),
        ([1, 1000, 100, 1], 198, [[0, 3], [2], [1]]),
        ([5], 0, [[0]]),
    ],
)
def test_by_hand(lengths, least, expected):
    assert rollout_portions(lengths, least) == expected


def test_a_trainer_samples_in_portions_and_hands_back_the_order_that_it_was_given(pair: Pair, output: Any) -> None:
    long = [{"role": "user", "content": "The quick brown fox " * 5}]
    prompts = [long, MESSAGES[0], MESSAGES[1], [*long]]
    options = {"prompts": prompts, "num_generations": 2, "per_device_train_batch_size": 8, "shuffle_dataset": False}
    trainer = make_trainer(pair, output, max_steps=1, min_padding_saved=10, **options)
    found, batches = compared(trainer), []
    generate = trainer.model.generate

    def seen(*args: Any, **kwargs: Any) -> torch.Tensor:
        batches.append(tuple(kwargs["input_ids"].shape))
        return generate(*args, **kwargs)

    trainer.model.generate = seen
    trainer.train()
    check(found)  # under each prompt its own response
    (rows,) = trainer.prompt_ids
    assert [len(ids) > 60 for ids in rows] == [True, True, False, False, False, False, True, True]
    assert batches == [(4, max(map(len, rows[2:6]))), (4, len(rows[0]))]
    assert [item.prompt for item in trainer.scored] == [prompt for prompt in prompts for _ in range(2)]


@pytest.mark.parametrize(
    ("images", "fields", "portions"),
    [
        (None, {}, [[[1]], [[2, 3]]]),
        ([["a"], None], {}, [[[1], [2, 3]]]),
        (None, {"pixels": torch.ones(2)}, [[[1], [2, 3]]]),
    ],
)
def test_rows_with_images_are_sampled_at_once(images: Any, fields: Any, portions: Any) -> None:
    """What TRL hands over with them is of all rows together."""
    calls: list[Any] = []

    def sampled(ids: Any, *others: Any) -> Any:
        calls.append((ids, others))
        return [[9]] * len(ids)

    trainer: Any = SimpleNamespace(use_vllm=False, _rollout_portions=lambda _: [[0], [1]], _sampled_at_once=sampled)
    assert GenerationTrainer._generate_single_turn(trainer, [[1], [2, 3]], images, fields, True) == [[9], [9]]
    assert [ids for ids, _ in calls] == portions
    assert all(others == (images, fields, True) for _, others in calls)
