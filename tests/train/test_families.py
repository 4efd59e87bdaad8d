"""A run under a teacher, and with a student, of every other family: every sampled byte is accounted for."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from crossdistill.align import DropReason
from tests.models import TEACHER_TEMPLATE, TEXTS, student_model, student_tokenizer
from tests.tokenizers_in_process import CHARACTER_BUILDERS, unigram
from tests.train.harness import RecordingTrainer, arguments, rows

SPECIAL = ["<pad>", "<bos>", "<turn>", "<stop>"]
pytestmark = pytest.mark.slow
FAMILIES = {**CHARACTER_BUILDERS, "unigram": lambda: unigram(num_pieces=220)}
MESSAGES = [[{"role": "user", "content": text}] for text in TEXTS]


def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    backend = FAMILIES[name]()
    backend.add_special_tokens(SPECIAL)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<stop>", pad_token="<pad>", bos_token="<bos>")
    made.chat_template = TEACHER_TEMPLATE
    return made


def family_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 3, max_position_embeddings=256, **sizes))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def run(student: tuple, teacher: tuple, output: Path) -> RecordingTrainer:
    (student_net, student_tok), (teacher_net, teacher_tok) = student, teacher
    trainer = RecordingTrainer(
        student_net,
        teacher_net,
        arguments(output, max_steps=2, low_coverage="ignore"),
        train_dataset=rows(MESSAGES),
        processing_class=student_tok,
        teacher_processing_class=teacher_tok,
    )
    trainer.train()
    return trainer


def check_accounts(trainer: RecordingTrainer) -> None:
    scored = [item for batch in trainer.rollouts for item in batch]
    coverage = trainer.usage.coverage
    assert coverage.sampled.tokens == sum(len(item.response.ids) for item in scored) > 0
    assert coverage.sampled.bytes == sum(len(item.response.data) for item in scored)
    assert set(coverage.dropped) <= {DropReason.UNENCODABLE, DropReason.SPECIAL_TOKEN}
    for item in scored:
        spans = item.encoding.unencodable_spans
        assert item.alignment.byte_splits[-1] <= len(item.response.data) - int((spans[:, 1] - spans[:, 0]).sum())
        assert not item.advantages[~item.mask].any()
    assert all(torch.isfinite(torch.tensor(step["loss"])) for step in trainer.steps)


@pytest.mark.parametrize("name", FAMILIES)
def test_as_teacher(name, output):
    ours, theirs = student_tokenizer(), family_tokenizer(name)
    trainer = run((student_model(ours), ours), (family_model(theirs), theirs), output)
    check_accounts(trainer)
    lost = trainer.usage.coverage.dropped.get(DropReason.UNENCODABLE)
    assert (lost is None) == (name == "unigram")  # a random student writes bytes that only byte fallback spells


@pytest.mark.parametrize("name", FAMILIES)
def test_as_student(name, output):
    ours, theirs = family_tokenizer(name), student_tokenizer()
    trainer = run((family_model(ours), ours), (student_model(theirs), theirs), output)
    check_accounts(trainer)
    assert trainer.usage.coverage.share == 1.0
