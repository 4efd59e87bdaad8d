"""Prompts that cannot work are refused with the row named, before a model is loaded."""

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


def _appending(tokenizer):
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", tokenizer.eos_token_id)])
