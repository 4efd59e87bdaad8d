"""Special ids beyond a model's embeddings."""

import pytest

from crossdistill.chat.ids import check_ids, refuse_ids, tokens_beyond
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.findings import FindingError
from tests.models import STUDENT_TEMPLATE, TEACHER_TEMPLATE, student_tokenizer, teacher_tokenizer


def found(made, size, declared=None, tools=()):
    return [finding.message for finding in check_ids(PromptRenderer(made, {}, list(tools)), size, "student", declared)]


@pytest.mark.parametrize("make", [student_tokenizer, teacher_tokenizer])
@pytest.mark.parametrize("padding", [0, 6])
def test_ordinary_models_pass_without_a_word(make, padding):
    made = make()
    assert found(made, len(made) + padding, {"eos_token_id": [made.eos_token_id], "pad_token_id": -1}) == []


@pytest.mark.parametrize("name", ["pad", "bos", "eos", "unk"])
def test_a_special_token_beyond_the_embeddings(name):
    made = student_tokenizer()
    size = len(made)
    made.add_special_tokens({f"{name}_token": "[NEW]"})
    (message,) = found(made, size)
    assert message.startswith(
        f"the {name}_token of the student is '[NEW]' with the id {size}, and the model has {size}"
    )
    assert found(made, size + 1) == []
    assert found(made, None) == []


def test_a_token_that_the_template_writes():
    made = student_tokenizer()
    size = len(made)
    made.add_special_tokens({"additional_special_tokens": ["<|system_end|>"]})
    made.chat_template = STUDENT_TEMPLATE.replace(
        "<|end|>", "{% if message.role == 'system' %}<|system_end|>{% else %}<|end|>{% endif %}"
    )
    (message,) = found(made, size)
    assert message.startswith("a token of the chat template of the student is '<|system_end|>'")


def test_a_control_token_that_nothing_uses_passes():
    """As Gemma's image token does."""
    made = student_tokenizer()
    size = len(made)
    made.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert found(made, size, {"eos_token_id": 3}) == []
    assert tokens_beyond(made, size) == {"<image>": size}
    assert tokens_beyond(made, size + 1) == tokens_beyond(made, None) == {}


@pytest.mark.parametrize("name", ["eos_token_id", "pad_token_id", "bos_token_id"])
@pytest.mark.parametrize("value", [9999, [3, 9999]])
def test_ids_of_the_generation_config(name, value):
    made = student_tokenizer()
    (message,) = found(made, len(made), {name: value})
    assert message.startswith(f"{name} in the generation_config of the student is '<id 9999>' with the id 9999")


def test_stop_tokens_of_a_model_in_memory():
    made = student_tokenizer()
    renderer = PromptRenderer(made, {}, [])
    refuse_ids(renderer, len(made), "student", [3])
    with pytest.raises(FindingError, match="9999"):
        refuse_ids(renderer, len(made), "student", [3, 9999])


def test_a_template_that_begins_twice():
    made = teacher_tokenizer()
    assert found(made, len(made)) == []
    made.chat_template = "{{ bos_token }}" + TEACHER_TEMPLATE
    (message,) = found(made, len(made))
    assert message.startswith("the student's chat template begins a conversation with '<bos>' twice")
    refuse_ids(PromptRenderer(made, {}, []), len(made), "teacher", [3])  # a warning
