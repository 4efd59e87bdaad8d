"""A conversation as each model reads it, through a whole step: keyword arguments, stop tokens, the border."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DistillationTrainer

from tests.models import MESSAGES
from tests.train.harness import BATCH, RecordingTrainer, arguments, load, make_trainer, sampled_logprobs, watched

GREETS = "{{ greeting | default('') }}"


def scripted(trainer, patch, *responses):
    """The student says these ids, row by row."""
    patch.setattr(
        DistillationTrainer,
        "_generate_single_turn",
        lambda self, prompt_ids, *rest: [list(responses[k % len(responses)]) for k in range(len(prompt_ids))],
    )


@pytest.mark.parametrize("as_json", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_template_has_its_own_keyword_arguments(pair, output, as_json):
    student, teacher = AutoTokenizer.from_pretrained(pair.student), AutoTokenizer.from_pretrained(pair.teacher)
    student.padding_side = "left"
    for tokenizer in (student, teacher):
        tokenizer.chat_template += GREETS
    ours, theirs = {"greeting": "Sir,"}, {"greeting": "Madam,"}
    trainer = make_trainer(
        pair,
        output,
        max_steps=1,
        chat_template_kwargs='{"greeting": "Sir,"}' if as_json else ours,
        teacher_chat_template_kwargs='{"greeting": "Madam,"}' if as_json else theirs,
        trainer_options={"processing_class": student, "teacher_processing_class": teacher},
    )
    requests = watched(trainer)
    trainer.train()
    assert all(student.decode(ids).endswith("<|assistant|>Sir,") for ids in trainer.prompt_ids[0])
    assert all(teacher.decode(request.prompt_ids).endswith("<turn>assistant\nMadam,") for request in requests)


def test_each_of_several_stop_tokens_ends_a_turn_with_the_mass_of_all(pair, output, monkeypatch):
    """One that the model declares, one of the tokenizer, one that the template writes."""
    student = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    names = ["<|end|>", "<|user|>", "<|pad|>"]
    stops = student.convert_tokens_to_ids(names)
    student.chat_template = student.chat_template.replace("<|end|>", "<|user|>")
    model = load(pair.student)
    model.generation_config.eos_token_id = [stops[2]]
    trainer = make_trainer(pair, output, student=model, max_steps=1, trainer_options={"processing_class": student})
    text = student("fox", add_special_tokens=False)["input_ids"]
    scripted(
        trainer,
        monkeypatch,
        *([*text, stop] for stop in stops),
        [*text, student.convert_tokens_to_ids("<|assistant|>")],
    )
    trainer.train()
    assert trainer.eos_token_ids == sorted(stops)
    *stopped, cut = trainer.rollouts[0]
    assert [item.response.stop_position for item in stopped] == [len(text)] * 3
    assert cut.response.stop_position is None
    student_model = load(pair.student)
    for ids, item in zip(trainer.prompt_ids[0][:3], stopped, strict=True):
        with torch.no_grad():
            logits = student_model(torch.tensor([[*ids, *text]])).logits[0, -1].log_softmax(-1)
        mass = logits[stops].logsumexp(0).item()
        advantage = item.teacher.stop_logprob - mass
        assert item.advantages[-1] == pytest.approx(np.clip(advantage, -10, 10), abs=1e-3)


def test_a_prompt_whose_last_token_would_merge_with_the_response(pair, output, monkeypatch):
    """Each side keeps the tokens of the prompt alone; the response begins at the same byte for both."""
    student, teacher = AutoTokenizer.from_pretrained(pair.student), AutoTokenizer.from_pretrained(pair.teacher)
    prompt, said = "over th", "e quick brown fox"
    ours = student(said, add_special_tokens=False)["input_ids"]
    trainer = make_trainer(pair, output, prompts=[prompt] * BATCH, max_steps=1)
    scripted(trainer, monkeypatch, ours)
    requests = watched(trainer)
    trainer.train()
    for tokenizer in (student, teacher):
        whole = tokenizer(prompt + said)["input_ids"]
        assert whole != tokenizer(prompt)["input_ids"] + tokenizer(said, add_special_tokens=False)["input_ids"]
    assert trainer.prompt_ids[0][0] == student(prompt)["input_ids"]
    assert requests[0].prompt_ids == teacher(prompt)["input_ids"]
    assert trainer.rollouts[0][0].response.ids.tolist() == ours
    assert trainer.teacher.vocab.decode(requests[0].response_ids) == said.encode()
    model, ids = load(pair.teacher), list(requests[0].response_ids)
    with torch.no_grad():
        expected = sampled_logprobs(model, requests[0].prompt_ids, ids)
    np.testing.assert_allclose(trainer.rollouts[0][0].teacher.logprobs, expected, rtol=1e-4, atol=5e-5)


@pytest.mark.slow
def test_a_stream_of_conversations_is_looked_at_as_it_comes(pair, output, caplog):
    system = [{"role": "system", "content": "Be brief."}, *MESSAGES[0]]
    teacher = AutoTokenizer.from_pretrained(pair.teacher)
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    teacher.chat_template = refuses + teacher.chat_template
    # only the first row is looked at before
    stream = Dataset.from_dict({"prompt": [MESSAGES[0], *[system] * (BATCH - 1)]}).to_iterable_dataset()
    args = arguments(output, max_steps=1)
    trainer = RecordingTrainer(pair.student, pair.teacher, args, train_dataset=stream, teacher_processing_class=teacher)
    assert "takes no system message" not in caplog.text
    trainer.train()
    assert caplog.text.count("the teacher's chat template takes no system message") == 1
