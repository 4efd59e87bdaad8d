"""The tiny pair without its weights, and models that cannot be used."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from tests.models import Pair, student_tokenizer, teacher_tokenizer


@pytest.fixture(scope="session")
def weightless(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Configurations and tokenizers alone: a command that succeeds or refuses here has loaded no model."""
    folder = tmp_path_factory.mktemp("weightless")
    ignored = shutil.ignore_patterns("*.safetensors")
    copies = [shutil.copytree(path, folder / Path(path).name, ignore=ignored) for path in (pair.student, pair.teacher)]
    return Pair(*map(str, copies))


@pytest.fixture(scope="session")
def whole_words(weightless: Pair, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose tokenizer belongs to no family whose bytes can be verified."""
    folder = shutil.copytree(weightless.student, tmp_path_factory.mktemp("models") / "whole-words")
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", eos_token="a").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def mismatched(weightless: Pair, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher with fewer ids than its tokenizer."""
    return _changed(weightless.teacher, tmp_path_factory.mktemp("models") / "mismatched", vocab_size=40)


@pytest.fixture(scope="session")
def short_teacher(weightless: Pair, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _changed(weightless.teacher, tmp_path_factory.mktemp("models") / "short", max_position_embeddings=64)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1, which the libraries read once, when they are imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def _changed(model: str, folder: Path, **options: int) -> str:
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **options}))
    return str(folder)


@pytest.fixture(scope="session")
def student_vocab_pair() -> tuple[ByteVocab, ByteVocab]:
    """The vocabularies of the tiny pair."""
    return ByteVocab.from_tokenizer(student_tokenizer()), ByteVocab.from_tokenizer(teacher_tokenizer())
