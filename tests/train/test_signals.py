"""What an objective needs of a teacher, of a student and of a batch: refused before the run, or survived."""

from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.objectives import LossInputs, VocabPair, available, get
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher
from tests import tiny_models
from tests.models import Pair
from tests.objectives.cases import LETTERS_APART, vocab
from tests.train.harness import ONE_OF_A_CLASS, RecordingTrainer, fast_for, load, make_trainer, weights_of

CLASSES = pytest.mark.parametrize("name", ONE_OF_A_CLASS.values(), ids=ONE_OF_A_CLASS)


@pytest.fixture(scope="module")
def limited(pair: Pair) -> Any:
    """A teacher that gives no more than it is told to."""

    def teacher(signal: Signal, max_top_k: int | None = None) -> LocalTeacher:
        made = LocalTeacher(load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher))
        made.signal, made.max_top_k = signal, max_top_k
        return made

    return teacher


def test_there_is_one_objective_of_each_class():
    signals = {kind: get(name).signal for kind, name in ONE_OF_A_CLASS.items()}
    assert signals == {**{signal.value: signal for signal in Signal}, "auxiliary heads": Signal.DENSE}
    assert {get(name).signal for name in available()} == set(signals.values())


@pytest.mark.parametrize("signal", [Signal.SAMPLED, Signal.TOPK])
def test_a_teacher_that_gives_less_is_refused_before_the_student_is_loaded(pair, output, limited, no_weights, signal):
    message = f"objective 'simct' needs dense probabilities and this teacher gives only {signal.value} ones"
    with pytest.raises(InputError, match=message):
        make_trainer(pair, output, teacher=limited(signal), objective="simct")


def test_a_teacher_that_names_fewer_tokens_is_refused(pair, output, limited, no_weights):
    with pytest.raises(InputError, match="needs the 8 most probable tokens and this teacher gives at most 5"):
        make_trainer(pair, output, teacher=limited(Signal.TOPK, 5), objective="strict", objective_options={"top_k": 8})


def test_so_is_one_that_names_fewer_than_the_students_choice_needs(pair, output, limited, no_weights):
    options = {"top_k": 4, "chosen_by": "student", "tail": True, "teacher_top_k": 20}
    with pytest.raises(InputError, match="needs the 20 most probable tokens and this teacher gives at most 5"):
        make_trainer(pair, output, teacher=limited(Signal.TOPK, 5), objective="strict", objective_options=options)


def test_the_student_may_choose_more_than_the_teacher_names(pair, output, limited):
    options = {"top_k": 16, "chosen_by": "student", "tail": True, "teacher_top_k": 5}
    trainer = make_trainer(
        pair, output, teacher=limited(Signal.TOPK, 5), objective="strict", objective_options=options, max_steps=1
    )
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0
    assert 0 < trainer.steps[0]["teacher_tail"] < 1


@pytest.mark.parametrize("limit", [8, None])
def test_a_teacher_that_names_enough_trains(pair, output, limited, limit):
    options = {"objective": "strict", "objective_options": {"top_k": 8}, "max_steps": 1}
    trainer = make_trainer(pair, output, teacher=limited(Signal.TOPK, limit), **options)
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0


@pytest.mark.parametrize("name", ["cdm", "gold", "shared_vocab", "simct", "strict"])
def test_vocabularies_that_share_nothing_are_refused(name):
    apart = [vocab(pieces) for pieces in LETTERS_APART]
    with pytest.raises(InputError, match="share none"):
        get(name).check(VocabPair(*apart))


def train_on(trainer: RecordingTrainer, completion: list[int]) -> None:
    trainer._generate_single_turn = lambda prompt_ids, *_, **__: [completion] * len(prompt_ids)
    trainer.train()


@CLASSES
def test_a_batch_in_which_nothing_ended_is_survived(pair, output, name):
    trainer = make_trainer(pair, output, objective=name, max_steps=1)
    train_on(trainer, [50, 60, 70])
    assert trainer.steps[0]["stopped"] == 0
    assert trainer.steps[0]["grad_norm"] > 0


@CLASSES
def test_a_batch_that_says_nothing_teaches_nothing(pair, output, name):
    trainer = make_trainer(pair, output, objective=name, max_steps=1, weight_decay=0.0)
    train_on(trainer, [trainer.processing_class.pad_token_id])
    assert (trainer.steps[0]["loss"], trainer.steps[0]["grad_norm"]) == (0, 0)
    for key, value in weights_of(trainer.model).items():
        assert torch.equal(value, trainer.weights[0][key]), key


@pytest.mark.parametrize("name", fast_for(["simct", "bpm", "uld", "bld"]))
def test_a_dense_objective_trains_an_adapter_alone(pair, output, name):
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = make_trainer(pair, output, objective=name, trainer_options={"peft_config": config}, max_steps=3)
    trainer.train()
    changed = {key for key, value in trainer.weights[-1].items() if not torch.equal(value, trainer.weights[0][key])}
    assert {key for key in changed if "lora_" in key}
    assert {key for key in changed if "lora_" not in key and "auxiliary_heads" not in key} == set()


@pytest.mark.parametrize("family", fast_for(["gemma2", "tied_qwen", "cohere", "phi"], ["gemma2"]))
@pytest.mark.parametrize("name", fast_for(["simct", "bpm"]))
def test_heads_with_a_cap_a_scale_a_bias_or_a_tie_learn_what_the_objective_says(pair, output, family, name):
    """The gradient of the first step by autograd through the model's own logits."""
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    torch.manual_seed(0)
    student = tiny_models.build(family, len(tokenizer))
    trainer = make_trainer(
        pair,
        output,
        student=student,
        objective=name,
        max_steps=1,
        max_completion_length=8,
        prompts=["The cat", "12 + 3"],
        per_device_train_batch_size=2,
        trainer_options={"processing_class": tokenizer},
    )
    trainer.train()
    assert trainer.steps[0]["grad_norm"] == pytest.approx(expected_norm(trainer, family, len(tokenizer)), rel=1e-3)


def expected_norm(trainer: RecordingTrainer, family: str, size: int) -> float:
    model = tiny_models.build(family, size)
    model.load_state_dict(trainer.weights[0], strict=False)
    total, weight = 0.0, 0.0
    for prompt_ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        ids = [*prompt_ids, *item.response.ids.tolist()]
        logits = model(torch.tensor([ids])).logits[0]
        before = len(prompt_ids) - 1 + torch.from_numpy(item.mask).nonzero()[:, 0]
        # the model's own logits as states, under a head that changes nothing
        states = HiddenStates(logits[before], LMHead(torch.eye(logits.shape[1])))
        advantages = torch.from_numpy(item.advantages[item.mask])
        total = total + trainer.objective.loss(LossInputs(item.batch, advantages, states)).total
        weight += trainer.objective.weight(item.batch)
    (total / weight).backward()
    squares = [parameter.grad.square().sum() for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


def canonical(trainer: RecordingTrainer) -> list[int]:
    """A response in the tokens that a teacher of the same tokenizer reads."""
    return [*trainer.student_vocab.encode("The answer is 12 + 30 = 42.").ids, trainer.processing_class.eos_token_id]


@pytest.mark.parametrize("name", ["dpca", "cdm", "simct", "alm"])  # of the dense ones alm reads log-probabilities too
def test_a_student_that_is_its_teacher_learns_nothing_at_any_sampling_temperature(pair, output, name):
    options = {"alm": {"debias": False}, "cdm": {"top_k": 300}}.get(name, {})
    same = load(pair.student)
    trainer = make_trainer(
        pair,
        output,
        teacher=same,
        objective=name,
        objective_options=options,
        temperature=2.0,
        max_steps=1,
        trainer_options={"teacher_processing_class": AutoTokenizer.from_pretrained(pair.student)},
    )
    train_on(trainer, canonical(trainer))
    assert trainer.steps[0]["loss"] == pytest.approx(0, abs=1e-4)
    assert trainer.steps[0]["grad_norm"] == pytest.approx(0, abs=2e-2)
    assert trainer.steps[0]["teacher_gap"] == pytest.approx(0, abs=1e-4)


def test_so_does_one_that_is_shown_the_most_probable_tokens(pair, output):
    options = {"objective": "strict", "objective_options": {"top_k": 300}, "temperature": 2.0, "max_steps": 1}
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    extra = {"trainer_options": {"teacher_processing_class": tokenizer}}
    trainer = make_trainer(pair, output, teacher=load(pair.student), **options, **extra)
    train_on(trainer, canonical(trainer))
    assert trainer.steps[0]["loss"] == pytest.approx(0, abs=1e-4)


def test_marginal_credit_of_whole_distributions_is_that_of_temperature_1(pair, output):
    marginal = {"objective": "dpca", "objective_options": {"credit": "marginal"}, "temperature": 2.0}
    with pytest.raises(InputError, match="temperature 1, not 2"):
        make_trainer(pair, output, **marginal)
    marginal["objective_options"] = {"credit": "marginal", "top_k": 8}
    make_trainer(pair, output, **marginal)


@pytest.mark.parametrize("name", ["strict", pytest.param("cdm", marks=pytest.mark.slow)])
def test_more_tokens_than_there_are_is_all_of_them(pair, output, name):
    trainer = make_trainer(pair, output, objective=name, objective_options={"top_k": 10**6}, max_steps=1)
    trainer.train()
    assert trainer.steps[0]["grad_norm"] > 0
