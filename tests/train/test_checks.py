"""Prompts that cannot work are refused with the row named, before a model is loaded."""

import shutil
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.chat import render_prompt
from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.checks import check_prompt
from tests.models import MESSAGES
from tests.train.harness import arguments, make_trainer

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    "prompt",
    ["a text", [USER], [USER, {"role": "assistant", "content": None}], [{"role": "user", "content": [{"text": "Hi"}]}]],
)
def test_prompts_that_work(prompt):
    check_prompt(0, prompt)


@pytest.mark.parametrize(
    "prompt",
    [7, None, [], ["Hi"], [{"content": "Hi"}], [{"role": 1, "content": "Hi"}], [{"role": "user", "content": 3}]],
)
def test_prompts_that_do_not(prompt):
    with pytest.raises(InputError, match=r"prompt 4 is .*: a prompt must be a text or a list of messages, each with"):
        check_prompt(4, prompt)


@pytest.fixture
def no_weights(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trl.trainer.distillation_trainer.create_model_from_path", refuse)


def test_a_column_of_numbers_is_refused(pair, output, no_weights):
    with pytest.raises(InputError, match=r"prompt 0 is 1: a prompt must be a text"):
        make_trainer(pair, output, prompts=[1, 2, 3, 4])


def test_held_out_prompts_are_checked_too(pair, output, no_weights):
    held_out = [[{"role": "user", "content": "long " * 400}]]
    with pytest.raises(InputError, match=r"prompt 0 has \d+ tokens, which .* exceeds the student's context of 128"):
        make_trainer(pair, output, trainer_options={"eval_dataset": Dataset.from_dict({"prompt": held_out})})


def test_a_template_that_refuses_the_conversation_is_named(pair, output, no_weights):
    tokenizer = AutoTokenizer.from_pretrained(pair.teacher)
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(InputError, match=r"chat template of .* refuses a conversation of user \(no system role\)"):
        make_trainer(pair, output, trainer_options={"teacher_processing_class": tokenizer})


def test_both_sides_are_rendered_by_the_same_rules(pair, output):
    """A tokenizer that appends its end token to a text must not end the student's prompt with it."""
    tokenizer = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    tokenizer.backend_tokenizer.post_processor = _appending(tokenizer)
    assert tokenizer("one plus two")["input_ids"][-1] == tokenizer.eos_token_id
    trainer = CrossTokenizerTrainer(
        pair.student,
        pair.teacher,
        arguments(output),
        train_dataset=Dataset.from_dict({"prompt": ["one plus two"] * 4}),
        processing_class=tokenizer,
    )
    rendered, _, _ = trainer._tokenize_prompts(["one plus two", MESSAGES[0]])
    assert tokenizer.decode(rendered[0]) == "one plus two"
    assert rendered[1] == render_prompt(tokenizer, MESSAGES[0])


def test_weights_that_were_cut_short(pair, output, no_weights, tmp_path):
    folder = Path(shutil.copytree(pair.student, tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"the weights .*model.safetensors are damaged \(.*\): fetch or save"):
        make_trainer(pair, output, student=str(folder))


def test_an_adapter_is_no_model(pair, output, no_weights, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is an adapter, not a model: merge it into its base first"):
        make_trainer(pair, output, student=str(tmp_path))


def test_paths_name_models_too(pair, output):
    trainer = make_trainer(pair, output, student=Path(pair.student), teacher=Path(pair.teacher))
    assert len(trainer.score_prompts(MESSAGES[:1])) == 1


def test_the_last_checkpoint_is_resumed_from(pair, output):
    options = {"save_strategy": "steps", "save_steps": 1}
    make_trainer(pair, output, max_steps=1, **options).train()
    trainer = make_trainer(pair, output, max_steps=2, **options)
    trainer.train(resume_from_checkpoint=True)
    assert [step["step"] for step in trainer.steps] == [1, 2]
    assert len(trainer.rollouts) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_completion_length": 0}, "max_completion_length must be at least 1, not 0"),
        ({"teacher_batch_tokens": 0}, "teacher_batch_tokens must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"max_completion_length": None}, "max_completion_length must be at least 1, not None"),
        ({"report_to": "no-such-logger"}, "report_to names .no-such-logger., which is not installed here"),
        ({"learning_rate": float("nan")}, "learning_rate a number, not 1.0 and nan"),
        (
            {"objective_options": {"clip_low": "abc"}},
            "'clip_low' of objective 'dpca' must be a number, not 'abc'",
        ),
        ({"objective_options": {"credit": 3}}, "option 'credit' of objective 'dpca' must be a text, not 3"),
        ({"objective_options": {"name": "x"}}, "objective 'dpca' has no option 'name'"),
    ],
)
def test_values_that_cannot_be(output, options, message):
    with pytest.raises(InputError, match=message):
        arguments(output, **options)


def _appending(tokenizer):
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", tokenizer.eos_token_id)])
