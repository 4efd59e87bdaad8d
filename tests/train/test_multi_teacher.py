"""Several teachers: each response is judged as its own teacher alone would, or by the weighted mean of all."""

import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.costs import Part
from crossdistill.distill import Distiller, ScoredResponse
from crossdistill.objectives import LossInputs, get
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.teachers import LocalTeacher
from crossdistill.train.monitor.rollout_sums import RolloutSums
from tests.models import MESSAGES, Pair
from tests.train.harness import BATCH, RecordingTrainer, arguments, fast_for, load
from tests.train.test_families import family_model, family_tokenizer

NAMES = ("first", "second")


@pytest.fixture(scope="module")
def teachers(pair: Pair) -> dict[str, LocalTeacher]:
    """The pair's teacher, and one of another family."""
    tokenizer = family_tokenizer("unigram")
    return {
        "first": LocalTeacher(load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher)),
        "second": LocalTeacher(family_model(tokenizer), tokenizer),
    }


def trainer_of(pair: Pair, output: Any, teachers: dict[str, Any], column: bool = True, **options: Any) -> Any:
    """Rows take turns between the teachers, where a column says so."""
    columns: dict[str, Any] = {"prompt": list(MESSAGES)}
    if column:
        columns["teacher"] = [NAMES[row % 2] for row in range(len(MESSAGES))]
    args = arguments(output, shuffle_dataset=False, low_coverage="ignore", **{"max_steps": 1, **options})
    trainer = RecordingTrainer(pair.student, teachers, args, train_dataset=Dataset.from_dict(columns))
    trainer.student_folder = pair.student
    return trainer


def alone(trainer: RecordingTrainer, teacher: LocalTeacher, item: ScoredResponse) -> ScoredResponse:
    """What one teacher says of a response of the run, asked by itself."""
    size, stops = len(trainer.student_vocab), trainer.eos_token_ids
    distiller = Distiller(trainer.processing_class, teacher, trainer.objective, vocab_size=size, declared_stops=stops)
    (found,) = distiller.score([item.prompt], [item.response.ids.tolist()], [item.student_logprobs]).responses
    return found


def assert_same(ours: ScoredResponse, theirs: ScoredResponse) -> None:
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    np.testing.assert_allclose(ours.advantages[:-1], theirs.advantages[:-1], atol=2e-5)  # a stop has its own mass
    assert ours.num_teacher_tokens == theirs.num_teacher_tokens


def test_each_row_has_its_teacher(pair, output, teachers):
    trainer = trainer_of(pair, output, teachers)
    trainer.train()
    scored = trainer.rollouts[0]
    assert [item.teacher_name for item in scored] == [NAMES[row % 2] for row in range(BATCH)]
    for item in scored:
        assert item.others == ()
        assert_same(item, alone(trainer, teachers[item.teacher_name], item))
    advantages = np.concatenate([item.advantages[item.mask] for item in scored])
    assert trainer.steps[0]["loss"] == pytest.approx(-advantages.mean(), rel=2e-4, abs=2e-5)


def test_every_teachers_tokens_are_paid_at_its_own_price(pair, output, teachers):
    trainer = trainer_of(pair, output, teachers)
    trainer.train()
    assert len({teacher.flops for teacher in teachers.values()}) == 2
    scored = trainer.rollouts[0]
    expected = sum(teachers[item.teacher_name].flops.forward([item.num_teacher_tokens]) for item in scored)
    assert trainer.total_usage().costs.flops[Part.TEACHER_PREFILL] == expected


def test_rules_route_and_templates_are_each_teachers_own(pair, output, teachers):
    rules = {"second": r"\d", "first": ""}
    trainer = trainer_of(pair, output, teachers, column=False, teacher_rules=rules)
    trainer.train()
    for item in trainer.rollouts[0]:
        text = "\n".join(message["content"] for message in item.prompt)
        assert item.teacher_name == ("second" if any(map(str.isdigit, text)) else "first")


@pytest.mark.parametrize("name", fast_for(["simct", "bpm"]))
def test_a_dense_loss_is_the_sum_over_both_teachers(pair, output, teachers, name):
    trainer = trainer_of(pair, output, teachers, objective=name)
    trainer.train()
    model = load(pair.student)
    model.load_state_dict(trainer.weights[0], strict=False)
    total, weight = 0.0, 0.0
    for prompt_ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        assert item.batch.pair.teacher is teachers[item.teacher_name].vocab
        with torch.no_grad():
            hidden = model.model(torch.tensor([[*prompt_ids, *item.response.ids]])).last_hidden_state[0]
            before = len(prompt_ids) - 1 + torch.from_numpy(item.mask).nonzero()[:, 0]
            inputs = LossInputs(
                item.batch,
                torch.from_numpy(item.advantages[item.mask]),
                HiddenStates(hidden[before], LMHead.from_model(model)),
            )
            total += trainer.objective.loss(inputs).total.item()
        weight += trainer.objective.weight(item.batch)
    assert trainer.steps[0]["loss"] == pytest.approx(total / weight, rel=1e-3)


def test_weights_average_the_advantages(pair, output, teachers):
    weights, unbounded = {"first": 1, "second": 3}, {"max_advantage": 1e6}
    trainer = trainer_of(pair, output, teachers, column=False, teacher_weights=weights, objective_options=unbounded)
    trainer.train()
    for item in trainer.rollouts[0]:
        assert (item.teacher_name, len(item.others)) == ("second", 1)
        parts = {name: alone(trainer, teacher, item) for name, teacher in teachers.items()}
        expected = []
        for k, kept in enumerate(parts["second"].mask):
            first, second = (parts[name].advantages[k] for name in NAMES)
            mean = 0.25 * first + 0.75 * second if parts["first"].mask[k] else second
            expected.append(mean if kept else 0.0)
        np.testing.assert_allclose(item.advantages[:-1], expected[:-1], atol=2e-5)
        np.testing.assert_array_equal(item.mask, parts["second"].mask)
    bounded = trainer_of(pair, output, teachers, column=False, teacher_weights=weights)
    bounded.train()
    for item, other in zip(trainer.rollouts[0], bounded.rollouts[0], strict=True):  # the mean is bounded, not its parts
        np.testing.assert_allclose(other.advantages, item.advantages.clip(-10, 10), atol=2e-5)
    costs = trainer.total_usage().costs
    read = sum(one.num_teacher_tokens for item in trainer.rollouts[0] for one in (item, *item.others))
    assert costs.tokens[Part.TEACHER_PREFILL] == read


@pytest.mark.parametrize("weight", [0.1, 9])
def test_what_one_of_them_drops_is_dropped_and_counted(pair, output, teachers, weight):
    second = teachers["second"]
    choosy = LocalTeacher(second.model, second.tokenizer)
    choosy.score = lambda requests, *given: [
        DropReason.TEACHER_CONTEXT if k % 2 else answer for k, answer in enumerate(second.score(requests, *given))
    ]
    both = {"first": teachers["first"], "second": choosy}
    trainer = trainer_of(pair, output, both, column=False, teacher_weights={"first": 1, "second": weight})
    trainer.train()
    scored = trainer.rollouts[0]
    lost = [item for item in scored if item.dropped is not None]
    assert [item.dropped for item in lost] == [DropReason.TEACHER_CONTEXT] * (BATCH // 2)
    assert all((item.teacher_name, len(item.others), item.weight) == ("second", 1, 0) for item in lost)
    assert not any(item.mask.any() for item in lost)
    coverage = trainer.total_usage().coverage
    assert coverage.dropped[DropReason.TEACHER_CONTEXT].bytes == sum(len(item.response.data) for item in lost) > 0
    assert coverage.share < 0.9


def test_tokens_that_one_of_them_says_nothing_of_are_counted(pair, output, teachers):
    trainer = trainer_of(pair, output, teachers, column=False, teacher_weights={"first": 1, "second": 3})
    trainer.train()
    item = next(item for item in trainer.rollouts[0] if item.mask.sum() > 1)
    assert "partly_judged" not in trainer.steps[0]
    (other,) = item.others
    hole = other.mask.copy()
    hole[item.mask.nonzero()[0][0]] = False
    assert item.num_partly_scored == 0
    holed = dataclasses.replace(item, others=(dataclasses.replace(other, mask=hole),))
    assert holed.num_partly_scored == 1
    assert RolloutSums(responses=1, supervised_tokens=4, partly_scored_tokens=1).metrics()["partly_judged"] == 0.25


@pytest.mark.slow
def test_a_resumed_ledger_goes_on(pair, output, teachers):
    options = {"save_strategy": "steps", "save_steps": 1}
    first = trainer_of(pair, output, teachers, **options)
    first.train()
    second = trainer_of(pair, output, teachers, **options, max_steps=2)
    second.train(resume_from_checkpoint=True)
    before, after = (trainer.total_usage().costs.flops[Part.TEACHER_PREFILL] for trainer in (first, second))
    read = second.rollouts[0]
    added = sum(teachers[item.teacher_name].flops.forward([item.num_teacher_tokens]) for item in read)
    assert after == before + added


def test_one_objective_is_chosen_for_all(pair, output, teachers):
    assert trainer_of(pair, output, teachers, objective="auto").objective.name in {"dpca", "strict", "bpm"}
    weighted = trainer_of(
        pair, output, teachers, column=False, objective="auto", teacher_weights={"first": 1, "second": 1}
    )
    assert weighted.objective.name == "dpca"
    assert "one for all teachers" in weighted.choice.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": False}, "row 0: the column 'teacher' says None"),
        ({"teacher_rules": {"third": ""}}, "teacher_rules names 'third'"),
        ({"teacher_weights": {"first": 1}, "objective": "uld"}, "objective 'uld' learns from one teacher"),
        ({"on_policy_share": 0.5, "off_policy": "teacher", "objective": "uld"}, "takes a single local one"),
        ({"teacher_chat_template_kwargs": {"enable_thinking": False}}, "are tables by their names: first, second"),
    ],
)
def test_what_cannot_work_is_refused(pair, output, teachers, options, message):
    models = {"first": pair.teacher, "second": teachers["second"]}
    with pytest.raises(InputError, match=message):
        trainer_of(pair, output, models, **options)


def test_no_teacher_is_refused(pair, output):
    with pytest.raises(InputError, match="names no teacher"):
        trainer_of(pair, output, {})


def test_only_objectives_that_read_nothing_but_advantages_mix_teachers():
    """What the loss of one that mixes reads of the teacher besides them must not matter."""
    from crossdistill.objectives import available
    from tests.objectives.cases import case

    for name in available():
        objective = get(name)
        if not objective.mixes_teachers:
            continue
        inputs = case(objective).inputs()
        teacher = inputs.batch.teacher
        poisoned = dataclasses.replace(teacher, logprobs=teacher.logprobs * torch.nan, states=None)
        other = dataclasses.replace(inputs, batch=dataclasses.replace(inputs.batch, teacher=poisoned))
        assert objective.loss(other).total == objective.loss(inputs).total


def test_a_teacher_elsewhere_scores_a_part_while_the_next_is_sampled(pair, output, teachers):
    """Sampling the second part waits until the teacher has begun with the first."""
    began, seen = threading.Event(), []
    slow = LocalTeacher(teachers["first"].model, teachers["first"].tokenizer)
    slow.is_remote, score = True, slow.score

    def scored(requests, *signal):
        seen.append(len(requests))
        began.set()
        return score(requests, *signal)

    slow.score = scored
    halves = {"per_device_train_batch_size": BATCH // 2, "gradient_accumulation_steps": 2}
    trainer = trainer_of(pair, output, slow, column=False, top_k=1, rollout_parts=2, **halves)
    sample, calls = trainer.sample, []

    def sampled(prompts):
        calls.append(len(prompts))
        assert len(calls) == 1 or began.wait(20)
        return sample(prompts)

    trainer.sample = sampled
    trainer.train()
    assert (calls, seen) == ([BATCH // 2] * 2, [BATCH // 2] * 2)
    whole = trainer_of(pair, output, teachers["first"], column=False, top_k=1, **halves)
    whole.train()
    assert trainer.steps[0]["loss"] == pytest.approx(whole.steps[0]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", fast_for(["bld", "gold", "bpm", "alm"]))
def test_a_teacher_of_empty_responses_alone_costs_no_figures(pair, output, teachers, name):
    trainer = trainer_of(pair, output, teachers, objective=name)
    stop, answers = trainer.processing_class.eos_token_id, iter([[50, 60, 70, 80], [], [90, 91], []])
    trainer._generate_single_turn = lambda prompt_ids, *_, **__: [[*next(answers), stop] for _ in prompt_ids]
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0
