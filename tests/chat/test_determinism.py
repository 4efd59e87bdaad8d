"""Tokenizers that read a text in another way each time."""

import io

import pytest
import sentencepiece

from crossdistill.chat.determinism import make_deterministic
from tests.models import student_tokenizer
from tests.tokenizers_in_process import CORPUS, NAMES, build

TEXT = " ".join(CORPUS)


def readings(tokenizer):
    return {tuple(tokenizer(TEXT)["input_ids"]) for _ in range(6)}


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_tokenizers_pass_without_a_word(name):
    made = build(name)
    before = made(TEXT)["input_ids"]
    assert make_deterministic(made, "student") == []
    assert made(TEXT)["input_ids"] == before


@pytest.mark.parametrize("dropout", [0.01, 0.5])
def test_bpe_dropout_is_switched_off(dropout, tmp_path):
    made = build("qwen")
    (right,) = readings(made)
    made.backend_tokenizer.model.dropout = dropout
    made.save_pretrained(tmp_path)
    made = type(made).from_pretrained(tmp_path)
    (finding,) = make_deterministic(made, "teacher")
    assert finding.kind.name == "tokenizer_sampling_off"
    assert (
        f"the teacher's tokenizer reads texts at random (dropout = {dropout:.3g} of its BPE model)" in finding.message
    )
    assert readings(made) == {right}
    made.save_pretrained(tmp_path)
    assert make_deterministic(type(made).from_pretrained(tmp_path), "teacher") == []


def test_sampling_of_a_unigram_model_is_switched_off():
    made = build("unigram")
    (right,) = readings(made)
    made.backend_tokenizer.model.alpha = 0.1
    assert len(readings(made)) > 1
    assert [finding.kind.name for finding in make_deterministic(made, "student")] == ["tokenizer_sampling_off"]
    assert readings(made) == {right}


def test_sampling_of_sentencepiece_is_switched_off(tmp_path):
    from transformers.models.bert_generation.tokenization_bert_generation import BertGenerationTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3), model_writer=model, vocab_size=420, hard_vocab_limit=False, minloglevel=2
    )
    path = tmp_path / "spiece.model"
    path.write_bytes(model.getvalue())
    sampling = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    made = BertGenerationTokenizer(vocab_file=str(path), sp_model_kwargs=sampling)
    assert len(readings(made)) > 1
    assert [finding.kind.name for finding in make_deterministic(made, "student")] == ["tokenizer_sampling_off"]
    assert len(readings(made)) == 1
    made.save_pretrained(tmp_path / "saved")
    assert len(readings(BertGenerationTokenizer.from_pretrained(tmp_path / "saved"))) == 1


def test_what_cannot_be_switched_off_is_refused():
    made = student_tokenizer()

    class Shuffling(type(made)):
        count = 0

        def __call__(self, *args, **kwargs):
            Shuffling.count += 1
            encoded = super().__call__(*args, **kwargs)
            return {"input_ids": encoded["input_ids"][Shuffling.count % 3 :]}

    made.__class__ = Shuffling
    (finding,) = make_deterministic(made, "teacher")
    assert finding.kind.name == "random_tokenizer"
    assert "the teacher's tokenizer (Shuffling) reads one text in several ways" in finding.message
