"""The real tokenizers that `make tokenizers` fetches, as the objects that users have."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.tokens import World
from tests.matrix import pieces

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "tokenizers"


@dataclass(frozen=True)
class Real:
    """A real tokenizer.

    Attributes:
        name: its name.
        tokenizer: the argument of :meth:`ByteVocab.from_tokenizer`.
        pieces: the bytes of every id, read without crossdistill.
        source: package and version.
        fast: the same as a fast Hugging Face tokenizer, which GOLD needs, or None.
    """

    name: str
    tokenizer: Any
    pieces: list[bytes]
    source: str
    fast: PreTrainedTokenizerFast | None = None

    @cached_property
    def built(self) -> tuple[ByteVocab, float]:
        """Its vocabulary, and the seconds that reading and verifying it took."""
        start = time.perf_counter()
        vocab = ByteVocab.from_tokenizer(self.tokenizer)
        return vocab, time.perf_counter() - start

    @property
    def vocab(self) -> ByteVocab:
        return self.built[0]

    @property
    def backend(self) -> Tokenizer | None:
        return self.fast.backend_tokenizer if self.fast else None


def load_all() -> dict[str, Real]:
    """Every tokenizer of the manifest and the variants below, by name; the test fails if there is none."""
    manifest = FOLDER / "manifest.json"
    if not manifest.exists():
        pytest.fail(f"{manifest} is missing: run `make tokenizers` first")
    found = {}
    for entry in json.loads(manifest.read_text(encoding="utf-8")):
        path = FOLDER / entry["name"] / entry["file"]
        found[entry["name"]] = _LOADERS[entry["file"]](entry["name"], path, entry["package"])
    for variant in (_as_tiktoken(found["gpt-3.5"]), _with_metaspace_alone(found["xlm-roberta"])):
        found[variant.name] = variant
    return found


def golden(name: str) -> list[tuple[str, list[int]]]:
    """Texts with their golden token ids from the packages; empty if there are none."""
    path = FOLDER / name / "golden.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    return list(zip(content["texts"], content["ids"], strict=True))


def _tokenizer_json(name: str, path: Path, source: str) -> Real:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path), clean_up_tokenization_spaces=False)
    read = pieces.of_tokenizer_json(json.loads(path.read_text("utf-8")))
    return Real(name, tokenizer, read, source, fast=tokenizer)


class Tekken:
    """Mistral's tekken with the attributes of ``mistral_common``'s class, which needs another version of numpy.

    Its ids are those of a tiktoken encoding, after the control tokens.
    """

    def __init__(self, content: dict[str, Any]):
        import tiktoken

        config = content["config"]
        self.num_special_tokens = config["default_num_special_tokens"]
        size = config["default_vocab_size"] - self.num_special_tokens
        ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in content["vocab"][:size]}
        self._model = tiktoken.Encoding("tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={})

    def id_to_byte_piece(self, token_id: int) -> bytes:
        return self._model.decode_single_token_bytes(token_id - self.num_special_tokens)

    def encode_text(self, text: str) -> list[int]:
        return [index + self.num_special_tokens for index in self._model.encode_ordinary(text)]


def _tekken(name: str, path: Path, source: str) -> Real:
    content = json.loads(path.read_text("utf-8"))
    return Real(name, Tekken(content), pieces.of_tekken(content), source)


def _sentencepiece_model(name: str, path: Path, source: str) -> Real:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(path))
    return Real(name, processor, pieces.of_processor(processor), source)


def _world(name: str, path: Path, source: str) -> Real:
    return Real(name, World.from_file(path), pieces.of_world(path.read_text("utf-8")), source)


_LOADERS: dict[str, Callable[[str, Path, str], Real]] = {
    "tokenizer.json": _tokenizer_json,
    "tekken.json": _tekken,
    "tokenizer.model": _sentencepiece_model,
    "rwkv_vocab.txt": _world,
}


def _as_tiktoken(real: Real) -> Real:
    """The same vocabulary as a ``tiktoken.Encoding``, which is how its maker publishes it."""
    import tiktoken

    assert real.backend is not None
    spec = json.loads(real.backend.to_str())
    added = {token["content"]: token["id"] for token in spec["added_tokens"]}
    special_ids = set(added.values())
    ranks = {data: index for index, data in enumerate(real.pieces) if data and index not in special_ids}
    (regex,) = (step["pattern"]["Regex"] for step in spec["pre_tokenizer"]["pretokenizers"] if step["type"] == "Split")
    encoding = tiktoken.Encoding("cl100k", pat_str=regex, mergeable_ranks=ranks, special_tokens=added)
    return Real(f"{real.name} (tiktoken)", encoding, real.pieces, real.source)


def _with_metaspace_alone(real: Real) -> Real:
    """The same Unigram vocabulary in the form that Transformers converts SentencePiece models to now."""
    assert real.backend is not None
    spec = json.loads(real.backend.to_str())
    squeeze = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    spec["normalizer"] = {"type": "Sequence", "normalizers": [spec["normalizer"], squeeze]}
    spec["pre_tokenizer"] = spec["pre_tokenizer"]["pretokenizers"][-1]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)), clean_up_tokenization_spaces=False
    )
    return Real(f"{real.name} (Metaspace)", tokenizer, real.pieces, real.source, fast=tokenizer)
