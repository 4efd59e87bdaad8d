"""What a model writes is its own: nothing of its generation defaults has an effect."""

import json
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from crossdistill import InputError
from crossdistill.teachers.generation_defaults import defaults_kept, defaults_set_aside
from crossdistill.teachers.writing import WrittenResponse, left_out_findings, response_of, write_responses
from tests.models import MESSAGES, teacher_model, teacher_tokenizer

HOSTILE: list[dict[str, Any]] = [
    {"repetition_penalty": 1.8},
    {"no_repeat_ngram_size": 1},
    {"num_beams": 3},
    {"do_sample": True, "num_return_sequences": 2},
    {"do_sample": True, "num_beams": 2, "num_return_sequences": 2},
    {"do_sample": True, "temperature": 3.0, "top_k": 2, "top_p": 0.1, "min_p": 0.9, "typical_p": 0.1},
    {"stop_strings": ["a"]},
    {"max_time": 0.0},
    {"max_length": 3},
    {"min_new_tokens": 8},
    {"min_length": 200},
    {"suppress_tokens": list(range(5, 60))},
    {"begin_suppress_tokens": list(range(5, 90))},
    {"bad_words_ids": [[token] for token in range(5, 60)]},
    {"sequence_bias": [[[9], 100.0]]},
    {"forced_eos_token_id": 3},
    {"exponential_decay_length_penalty": (1, 5.0)},
    {"guidance_scale": 3.0},
    {"watermarking_config": {"bias": 10.0}},
    {"prompt_lookup_num_tokens": 3},
    {"penalty_alpha": 0.6, "top_k": 4},
    {"return_dict_in_generate": True, "output_scores": True},
    {"token_healing": True},
    {"use_cache": False},
    {"cache_implementation": "static"},
    {"epsilon_cutoff": 0.2, "do_sample": True},
    {"renormalize_logits": True, "top_h": 0.2, "do_sample": True},
    {"a_field_of_its_own": 7},
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return teacher_tokenizer()


@pytest.fixture
def model(tokenizer) -> Any:
    return teacher_model(tokenizer)


def write(model: Any, tokenizer: Any, temperature: float) -> list[WrittenResponse]:
    return list(write_responses(model, tokenizer, MESSAGES[:2], 8, temperature, seed=5))


@pytest.fixture(scope="module")
def expected(tokenizer) -> dict[float, list[WrittenResponse]]:
    """What the model writes without defaults, by temperature."""
    return {temperature: write(teacher_model(tokenizer), tokenizer, temperature) for temperature in (0.0, 1.0)}


@pytest.mark.parametrize("defaults", HOSTILE, ids=lambda fields: next(reversed(fields)))
def test_the_checkpoints_defaults_change_nothing(model, tokenizer, expected, defaults):
    own = GenerationConfig(**defaults)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(own, name, getattr(model.generation_config, name))
    model.generation_config = own
    assert {temperature: write(model, tokenizer, temperature) for temperature in expected} == expected
    assert model.generation_config is own


def test_greedy_is_the_argmax_of_each_step(model, tokenizer):
    model.generation_config.repetition_penalty = 2.0
    (response,) = write_responses(model, tokenizer, MESSAGES[:1], 6)
    ids = tokenizer.apply_chat_template(MESSAGES[0], add_generation_prompt=True, return_dict=False)
    new: list[int] = []
    while len(new) < 6 and tokenizer.eos_token_id not in new:
        new.append(int(model(torch.tensor([[*ids, *new]])).logits[0, -1].argmax()))
    assert response.num_tokens == len(new)
    assert response.text == tokenizer.decode(new, skip_special_tokens=True)


def test_settings_in_the_models_own_configuration_change_nothing(model, tokenizer, expected):
    """Old checkpoints have them in config.json."""
    model.config.repetition_penalty = 1.9
    assert write(model, tokenizer, 0.0) == expected[0.0]


def test_defaults_are_back_after_an_error(model):
    own = model.generation_config
    with pytest.raises(KeyError), defaults_set_aside(model):
        assert model.generation_config is not own
        raise KeyError
    assert model.generation_config is own


def test_two_answers_to_a_prompt_are_refused_before_one_is_yielded(model, tokenizer, monkeypatch):
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: generate(**inputs).repeat_interleave(2, dim=0))
    with pytest.raises(InputError, match="the model wrote 4 responses to 2 prompts"):
        next(write_responses(model, tokenizer, MESSAGES[:2], 4))


def test_a_model_without_a_stop_token_is_refused(model, tokenizer):
    endless = teacher_tokenizer()
    endless.eos_token, endless.chat_template = None, None
    model.generation_config.eos_token_id = None
    with pytest.raises(InputError, match="no stop token"):
        next(write_responses(model, endless, ["one"], 4))


def test_template_arguments_reach_the_prompt(model, tokenizer):
    marked = teacher_tokenizer()
    marked.chat_template = "{{ marker }}" + marked.chat_template
    plain, other = (
        list(write_responses(model, marked, MESSAGES[:2], 6, template_kwargs=kwargs))
        for kwargs in (None, {"marker": "Add 12 and 30. " * 3})
    )
    assert plain != other
    assert plain == list(write_responses(model, tokenizer, MESSAGES[:2], 6))


def test_contradictory_defaults_are_saved_as_they_are(model, tmp_path):
    model.generation_config.temperature, model.generation_config.do_sample = 0.3, False
    with pytest.raises(ValueError, match="GenerationConfig is invalid"):
        model.save_pretrained(tmp_path / "without")
    with defaults_kept(model, tmp_path):
        model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert (saved["temperature"], saved["do_sample"]) == (0.3, False)


def thinking(tokenizer: Any) -> list[int]:
    """`<turn>` stands for a tag of reasoning: it is a special token."""
    tag, text = tokenizer.convert_tokens_to_ids("<turn>"), tokenizer("a b", add_special_tokens=False)["input_ids"]
    return [tag, *text, tag, *text, tokenizer.eos_token_id, tokenizer.pad_token_id]


def test_control_tokens_are_left_out_and_told(tokenizer):
    written = response_of(thinking(tokenizer), (tokenizer.eos_token_id,), tokenizer)
    assert "<turn>" not in written.text
    assert written.left_out == ("<turn>", "<turn>")
    (finding,) = left_out_findings([written, written])
    assert "its control token '<turn>'" in finding.message


def test_text_tokens_are_words(tokenizer):
    ids, stops = thinking(tokenizer), (tokenizer.eos_token_id,)
    written = response_of(ids, stops, tokenizer, ["<turn>"])
    assert written.text == "<turn>a b<turn>a b"
    assert written.left_out == ()
    assert (written.num_tokens, written.stopped) == (len(ids) - 1, True)


def test_a_text_without_control_tokens_is_the_same_with_text_tokens(tokenizer):
    ids = tokenizer("The quick  brown fox .", add_special_tokens=False)["input_ids"]
    assert response_of(ids, (), tokenizer) == response_of(ids, (), tokenizer, ["<turn>"])
