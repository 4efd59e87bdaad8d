"""The two models of a pair as far as tokenizers and configurations tell; no weights are read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from crossdistill.chat import stop_ids, token_name
from crossdistill.errors import InputError
from crossdistill.inspection.model_info import ModelInfo
from crossdistill.tokens import ByteVocab


@contextmanager
def reading(what: str, name: str) -> Iterator[None]:
    """A model that is not there, is damaged or is of no known kind, is told in one sentence.

    Within it stands nothing but a library's reading, which raises what a damaged file makes of it.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        lines = str(error).strip().splitlines()
        told = lines if isinstance(error, StrictDataclassError) else lines[:1]
        reason = " ".join(map(str.strip, told)).rstrip(".")
        raise InputError(
            f"{what} of {name!r} cannot be read ({reason}): give a model's folder, or a hub id that this machine can "
            "reach."
        ) from None


def is_url(model: Any) -> bool:
    """Whether a teacher is named by the address of its server."""
    return isinstance(model, str) and model.lower().startswith(("http://", "https://"))


def check_pair(student: Any, teacher: Any) -> None:
    """Student and teacher must be two models."""
    if isinstance(student, str) and isinstance(teacher, str):
        same = Path(student).resolve() == Path(teacher).resolve() if Path(student).exists() else student == teacher
        if same:
            raise InputError(
                f"student and teacher are both {student!r}: a model has nothing to learn from itself; name two models."
            )
    elif student is teacher:
        raise InputError("student and teacher are the same model object: name two models.")


def config_of(model: Any, **hub: Any) -> Any:
    """The configuration of a model or of a folder or hub id, without reading weights; `hub` as for `hub_options`."""
    if not isinstance(model, str):
        return model.config.get_text_config()
    if (Path(model) / "adapter_config.json").exists() and not (Path(model) / "config.json").exists():
        raise InputError(f"{model!r} is an adapter, not a model: merge it into its base first and give the whole.")
    with reading("the configuration", model):
        return AutoConfig.from_pretrained(model, **hub).get_text_config()


def vocab_size(model: str, **hub: Any) -> int:
    """How many token ids a model in a folder or on the hub can emit."""
    return config_of(model, **hub).vocab_size


def read_tokenizer(name: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder or on the hub, as it is; InputError where there is none."""
    with reading("the tokenizer", name):
        return AutoTokenizer.from_pretrained(name, **options)


def read_pair(
    student: str,
    teacher: str,
    student_kwargs: dict[str, Any] | None = None,
    teacher_kwargs: dict[str, Any] | None = None,
) -> tuple[ModelInfo, ModelInfo]:
    """Both sides, read and verified as a training run would; InputError for what it would refuse.

    student_kwargs, teacher_kwargs: keyword arguments of their chat templates.
    """
    check_pair(student, teacher)
    return read_model_info(student, "student", student_kwargs), read_model_info(teacher, "teacher", teacher_kwargs)


def read_model_info(name: str, side: str, template_kwargs: dict[str, Any] | None = None) -> ModelInfo:
    """The model in a folder or on the hub; a folder with a tokenizer alone has as many ids as that."""
    tokenizer, config = read_tokenizer(name), None if _is_tokenizer_alone(name) else config_of(name)
    try:
        vocab = ByteVocab.from_tokenizer(tokenizer, size=getattr(config, "vocab_size", None))
    except InputError as error:
        raise InputError(f"the {side} {name!r} cannot be used: {error}") from None
    context = getattr(config, "max_position_embeddings", None)
    return ModelInfo(name, tokenizer, vocab, context, declared_stops(name, len(vocab)), template_kwargs)


@dataclass(frozen=True)
class TokenizerInfo:
    """A model's tokenizer alone. stop_ids: of the tokens that end its turns, as far as the tokenizer tells."""

    tokenizer: Any
    vocab: ByteVocab
    stop_ids: tuple[int, ...]

    def name_of(self, token_id: int) -> str:
        return token_name(self.tokenizer, token_id)


def read_tokenizer_info(name: str) -> TokenizerInfo:
    """The tokenizer in a folder or on the hub; as many ids as the model has, where it has a configuration."""
    tokenizer = read_tokenizer(name)
    return TokenizerInfo(tokenizer, ByteVocab.from_tokenizer(tokenizer, size=_vocab_size(name)), stop_ids(tokenizer))


def _vocab_size(name: str) -> int | None:
    try:
        return config_of(name).vocab_size
    except InputError:
        return None  # a folder with a tokenizer alone


def _is_tokenizer_alone(name: str) -> bool:
    folder = Path(name)
    return folder.is_dir() and not any((folder / file).exists() for file in ("config.json", "adapter_config.json"))


def declared_stops(name: str, size: int | None = None, revision: str | None = None) -> list[int]:
    """Token ids that end a model's turns by the generation configuration of its folder or hub id; none if it has none.

    Args:
        name: a folder or hub id. size: how many token ids the model has, if that is known. revision: on the hub.

    Raises:
        InputError: a damaged file, or an entry that is no token id of the model.
    """
    declared = _generation_config(name, revision).get("eos_token_id")
    stops = [] if declared is None else declared if isinstance(declared, list) else [declared]
    for stop in stops:
        if not isinstance(stop, int) or isinstance(stop, bool) or stop < 0 or (size is not None and stop >= size):
            ids = "token ids" if size is None else f"{size:,} token ids"
            raise InputError(
                f"the generation_config.json of {name!r} names {stop!r} as eos_token_id, which is not one of the "
                f"model's {ids}: repair it."
            )
    return stops


def _generation_config(name: str, revision: str | None = None) -> dict[str, Any]:
    """What ``generation_config.json`` says; nothing where there is none. A folder's may be damaged."""
    if not Path(name).is_dir():
        from transformers import GenerationConfig

        try:
            return GenerationConfig.from_pretrained(name, revision=revision).to_dict()
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
