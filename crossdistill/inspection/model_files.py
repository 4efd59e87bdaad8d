"""The two models of a pair as far as tokenizers and configurations tell; no weights are read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.chat import stop_ids, token_name
from crossdistill.errors import InputError
from crossdistill.inspection import Side
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.models import check_pair, config_of, read_tokenizer


def read_pair(
    student: str,
    teacher: str,
    student_kwargs: dict[str, Any] | None = None,
    teacher_kwargs: dict[str, Any] | None = None,
) -> tuple[Side, Side]:
    """Both sides, read and verified as a training run would; InputError for what it would refuse.

    student_kwargs, teacher_kwargs: keyword arguments of their chat templates.
    """
    check_pair(student, teacher)
    return read_side(student, "student", student_kwargs), read_side(teacher, "teacher", teacher_kwargs)


def read_side(name: str, side: str, template_kwargs: dict[str, Any] | None = None) -> Side:
    """The model in a folder or on the hub; a folder with a tokenizer alone has as many ids as that."""
    tokenizer, config = read_tokenizer(name), None if _is_tokenizer_alone(name) else config_of(name)
    try:
        vocab = ByteVocab.from_tokenizer(tokenizer, size=getattr(config, "vocab_size", None))
    except InputError as error:
        raise InputError(f"the {side} {name!r} cannot be used: {error}") from None
    context = getattr(config, "max_position_embeddings", None)
    return Side(name, tokenizer, vocab, context, _declared_stops(name, len(vocab)), template_kwargs)


@dataclass(frozen=True)
class Tokens:
    """A model's tokenizer alone. stop_ids: of the tokens that end its turns, as far as the tokenizer tells."""

    tokenizer: Any
    vocab: ByteVocab
    stop_ids: tuple[int, ...]

    def name_of(self, token_id: int) -> str:
        return token_name(self.tokenizer, token_id)


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


def _declared_stops(name: str, size: int) -> list[int]:
    """Token ids that end the model's turns by its generation configuration; none where it names none."""
    declared = _generation_config(name).get("eos_token_id")
    stops = [] if declared is None else declared if isinstance(declared, list) else [declared]
    for stop in stops:
        if not isinstance(stop, int) or isinstance(stop, bool) or not 0 <= stop < size:
            raise InputError(
                f"the generation_config.json of {name!r} names {stop!r} as eos_token_id, which is none of the model's "
                f"{size:,} token ids: repair it."
            )
    return stops


def _generation_config(name: str) -> dict[str, Any]:
    """What ``generation_config.json`` says; nothing where there is none. A folder's may be damaged."""
    if not Path(name).is_dir():
        from transformers import GenerationConfig

        try:
            return GenerationConfig.from_pretrained(name).to_dict()
        except OSError:
            return {}
    path = Path(name) / "generation_config.json"
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): repair it.") from None
    if not isinstance(entries, dict):
        raise InputError(f"{path} is a {type(entries).__name__} where an object is due: repair it.")
    return entries
