"""Several responses to one prompt: whole groups in every batch, known to whoever scores them."""

import itertools
from typing import Any

import pytest
from datasets import Dataset, IterableDataset

from crossdistill import InputError
from crossdistill.teachers import LocalTeacher
from tests.models import MESSAGES
from tests.train.harness import BATCH, RecordingTrainer, arguments, load, make_trainer, rows
from tests.train.test_off_policy import LIKELIHOOD

ANSWERS = {"objective": LIKELIHOOD, "on_policy_share": 0.0}


class Grouped(RecordingTrainer):
    """Keeps the rollouts of training."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.kept: list[Any] = []
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self.kept.append(self._batches["train"].rollout)
        return batch


def trained(pair, output, **options) -> Grouped:
    trainer = make_trainer(pair, output, kind=Grouped, **options)
    trainer.train()
    return trainer


def prompts_by_group(rollout) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for group, prompt in zip(rollout.groups, rollout.prompts, strict=True):
        found.setdefault(group, []).append(str(prompt))
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2},
    "one row a pass": {"micro_batch_tokens": 1, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 1},
    "several steps a rollout": {"num_iterations": 2, "max_steps": 4},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_holds_whole_groups_of_responses_to_one_prompt(pair, output, variant):
    trainer = trained(pair, output, num_generations=2, **VARIANTS[variant])
    assert len(trainer.kept) == 2
    asked = []
    for rollout in trainer.kept:
        groups = prompts_by_group(rollout)
        assert list(groups) == [0, 1]
        assert all(len(prompts) == 2 and len(set(prompts)) == 1 for prompts in groups.values())
        asked += [prompts[0] for prompts in groups.values()]
    assert len(set(asked)) == 4  # no prompt twice


def test_the_responses_of_a_group_are_sampled_apart(pair, output):
    (rollout,) = trained(pair, output, num_generations=BATCH, max_steps=1).kept
    assert rollout.groups == [0] * BATCH
    assert len({tuple(ids) for ids in rollout.completion_ids}) > 1


def test_without_groups_each_row_is_its_own(pair, output):
    (rollout,) = trained(pair, output, max_steps=1).kept
    assert rollout.groups == list(range(BATCH))


def test_equal_prompts_in_the_data_are_not_taken_for_a_group(pair, output):
    """They are two groups: groups are known by how prompts were drawn, not by their texts."""
    (rollout,) = trained(pair, output, num_generations=2, prompts=[MESSAGES[0]] * 2, max_steps=1).kept
    assert rollout.groups == [0, 0, 1, 1]


def test_in_an_epoch_every_prompt_is_answered_so_often(pair, output):
    sampler = make_trainer(pair, output, num_generations=4, num_iterations=3)._get_train_sampler()
    order = list(sampler)
    assert len(order) == len(sampler) == len(MESSAGES) * 4 * 3
    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    assert all(len(set(batch)) == 1 for batch in batches)
    assert [len(list(run)) for _, run in itertools.groupby(batches)] == [3] * len(MESSAGES)


def test_a_resumed_run_goes_on_with_the_same_groups(pair, output):
    options = {"num_generations": 2, "top_k": 1, "max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = trained(pair, output, **options)
    again = make_trainer(pair, output, kind=Grouped, **options)
    again.train(resume_from_checkpoint=str(output / "checkpoint-3"))
    assert again.kept == whole.kept[3:]  # the second epoch among them


def test_a_teacher_elsewhere_gets_whole_groups(pair, output):
    local = LocalTeacher(load(pair.teacher), make_trainer(pair, output / "other").teacher.tokenizer)
    local.is_remote = True
    options = {"per_device_train_batch_size": 6, "num_generations": 3, "rollout_parts": 3, "max_steps": 1}
    trainer = make_trainer(pair, output, kind=Grouped, teacher=local, **options)
    sample, sizes = trainer.sample, []

    def sampled(portion):
        sizes.append(len(portion))
        return sample(portion)

    trainer.sample = sampled
    trainer.train()
    assert sizes == [3, 3]  # a third of the batch would be two rows
    assert trainer.kept[0].groups == [0, 0, 0, 1, 1, 1]


def test_evaluation_and_reports_sample_one_response_to_each_prompt(pair, output):
    trainer = make_trainer(pair, output, num_generations=2, trainer_options={"eval_dataset": rows(MESSAGES[:3])})
    trainer.evaluate()
    assert trainer._batches["eval"].rollout.groups == [0, 1, 2]
    assert len(trainer.score_prompts(MESSAGES[:2])) == 2


def test_a_teacher_writes_several_responses_to_a_prompt(pair, output):
    trainer = trained(pair, output, num_generations=BATCH, off_policy="teacher", max_steps=1, **ANSWERS)
    (rollout,) = trainer.kept
    assert rollout.groups == [0] * BATCH
    assert len({tuple(ids) for ids in rollout.completion_ids}) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_generations": 0}, "num_generations must be at least 1, not 0"),
        ({"num_generations": 3}, r"num_generations = 3 does not divide the 4 responses of a batch .* change one of"),
        ({"num_generations": 2, "per_device_train_batch_size": 1}, "does not divide the 1 responses"),
        ({"num_generations": 2, "accelerator_config": {"split_batches": True}}, "split_batches"),
        ({"num_generations": 2, "auto_find_batch_size": True}, "auto_find_batch_size"),
        ({"num_generations": 2, **ANSWERS}, "given responses, of which the data has one to each prompt"),
    ],
)
def test_what_would_cut_a_group_or_copy_a_response_is_refused(output, options, message):
    with pytest.raises(InputError, match=message):
        arguments(output, **options)


def test_a_step_takes_fewer_prompts(pair, output):
    assert make_trainer(pair, output, num_generations=2, prompts=MESSAGES[:2])
    with pytest.raises(InputError, match="the training data has 1 prompts and a step takes 2"):
        make_trainer(pair, output, num_generations=2, prompts=MESSAGES[:1])


def test_a_stream_is_refused(pair, output):
    stream = IterableDataset.from_generator(lambda: iter(Dataset.from_dict({"prompt": MESSAGES})))
    with pytest.raises(InputError, match="num_generations = 2 cannot be used with streamed training data"):
        RecordingTrainer(pair.student, pair.teacher, arguments(output, num_generations=2), train_dataset=stream)
