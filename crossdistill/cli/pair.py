"""The two models of a pair as far as tokenizers and configurations tell; no weights are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.chat import stop_ids
from crossdistill.errors import InputError
from crossdistill.inspection import Side
from crossdistill.tokens import ByteVocab
from crossdistill.train.checks import check_pair, config_of
from crossdistill.train.loading import read_tokenizer


def read_pair(student: str, teacher: str) -> tuple[Side, Side]:
    """Both sides, read and verified as a training run would; InputError for what it would refuse."""
    check_pair(student, teacher)
    return read_side(student, "student"), read_side(teacher, "teacher")


def read_side(name: str, side: str) -> Side:
    """The model in a folder or on the hub; a folder with a tokenizer alone has as many ids as that."""
    tokenizer, config = read_tokenizer(name), None if _is_tokenizer_alone(name) else config_of(name)
    try:
        vocab = ByteVocab.from_tokenizer(tokenizer, size=getattr(config, "vocab_size", None))
    except InputError as error:
        raise InputError(f"the {side} {name!r} cannot be used: {error}") from None
    return Side(name, tokenizer, vocab, getattr(config, "max_position_embeddings", None), _declared_stops(name))


@dataclass(frozen=True)
class Tokens:
    """A model's tokenizer alone. stop_ids: of the tokens that end its turns, as far as the tokenizer tells."""

    tokenizer: Any
    vocab: ByteVocab
    stop_ids: tuple[int, ...]

    def name_of(self, token_id: int) -> str:
        """Of a control token, or of an id by which the model's vocabulary is padded beyond its tokenizer."""
        return self.tokenizer.convert_ids_to_tokens(token_id) or f"<id {token_id}>"


def read_tokens(name: str) -> Tokens:
    """The tokenizer in a folder or on the hub; as many ids as the model has, where it has a configuration."""
    tokenizer = read_tokenizer(name)
    return Tokens(tokenizer, ByteVocab.from_tokenizer(tokenizer, size=_vocab_size(name)), stop_ids(tokenizer))


def _vocab_size(name: str) -> int | None:
    try:
        return config_of(name).vocab_size
    except InputError:
        return None  # a folder with a tokenizer alone


def _is_tokenizer_alone(name: str) -> bool:
    folder = Path(name)
    return folder.is_dir() and not any((folder / file).exists() for file in ("config.json", "adapter_config.json"))


def _declared_stops(name: str) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(name).eos_token_id
    except OSError:
        return None  # a folder without generation_config.json
