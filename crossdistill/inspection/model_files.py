"""Tokenizers and configurations of models in folders or on the hub; no weights are read.

In this order: errors while reading, tokenizers, configurations, declared stops.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from crossdistill.chat import stop_ids, token_name
from crossdistill.chat.ids import DECLARED
from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When
from crossdistill.inspection.missing_model import explained
from crossdistill.tokens import ByteVocab

LIBRARY_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, ImportError),
    *(AssertionError, EOFError, StrictDataclassError, SafetensorError, UnpicklingError),
)
"""What libraries raise for files of a model that are damaged, or that they do not know."""

POINTER = Kind(
    "git_lfs_pointer",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{path} is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder, or fetch the model with "
    "`hf download`.",
    "nothing can be read",
)
_POINTER_START = b"version https://git-lfs.github.com/spec/"
_MOST_OF_A_POINTER = 1024  # bytes; the rest of it names a hash and a size


@contextmanager
def reading(what: str, name: str) -> Iterator[None]:
    """Turn a library's errors while it reads a model into one sentence.

    Only the library's call belongs inside, because the errors that damaged files cause are of many kinds.

    Args:
        what: the part that is read, such as "the tokenizer".
        name: the model's folder or hub id.

    Raises:
        InputError: the model does not exist, is damaged, or is of an unknown kind.
    """
    try:
        yield
    except LIBRARY_ERRORS as error:
        check_pointers(Path(name))
        reason, way_out = explained(name, error, reason_of(error))
        raise InputError(f"{what} of {name!r} cannot be read ({reason}): {way_out}.") from None


def reason_of(error: BaseException) -> str:
    """What a library's error says, in one line; the name of the error if it says nothing."""
    lines = str(error).strip().splitlines()
    is_in_parts = isinstance(error, StrictDataclassError) or bool(lines and lines[0].rstrip().endswith(":"))
    relevant = lines if is_in_parts else lines[:1]
    return " ".join(map(str.strip, relevant)).rstrip(".") or type(error).__name__


def check_pointers(folder: Path) -> None:
    """Check that the files of a folder are themselves and not pointers of git-lfs; anything else passes.

    Raises:
        FindingError: the folder was cloned by a git without git-lfs.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_small = path.is_file() and path.stat().st_size < _MOST_OF_A_POINTER
        if is_small and path.read_bytes().startswith(_POINTER_START):
            raise POINTER.error(path=path)


def read_tokenizer(name: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder or on the hub, unchanged.

    Args:
        name: a folder or hub id.
        options: keyword arguments of ``AutoTokenizer.from_pretrained``.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with reading("the tokenizer", name):
            return AutoTokenizer.from_pretrained(name, **options)
    except InputError:
        if (Path(name) / "config.json").is_file():
            read_config(name, **hub_of(options))  # says so if it is to blame
        raise


def hub_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those keyword arguments that a configuration is read with, too."""
    return {name: options[name] for name in ("revision", "trust_remote_code") if name in options}


@dataclass(frozen=True)
class TokenizerInfo:
    """A model's tokenizer, without its other files.

    Attributes:
        tokenizer: its own.
        vocab: its vocabulary.
        stop_ids: token ids that end its turns, as far as the tokenizer itself declares them.
    """

    tokenizer: Any
    vocab: ByteVocab
    stop_ids: tuple[int, ...]

    def name_of(self, token_id: int) -> str:
        """The name of a token, for display."""
        return token_name(self.tokenizer, token_id)


def read_tokenizer_info(name: str) -> TokenizerInfo:
    """The tokenizer in a folder or on the hub, with as many ids as the model has if there is a configuration.

    Raises:
        InputError: the tokenizer cannot be read, or its bytes cannot be verified.
    """
    tokenizer = read_tokenizer(name)
    try:
        size = vocab_size(name)
    except InputError:
        size = None  # a tokenizer without a model
    return TokenizerInfo(tokenizer, ByteVocab.from_tokenizer(tokenizer, size=size), stop_ids(tokenizer))


def config_of(model: Any, **hub: Any) -> Any:
    """The text configuration of a model, without reading weights.

    Args:
        model: a model object, a folder or a hub id.
        hub: keyword arguments of ``AutoConfig.from_pretrained``, such as ``revision``.

    Raises:
        InputError: it cannot be read, or the folder holds an adapter alone.
    """
    return (read_config(model, **hub) if isinstance(model, str) else model.config).get_text_config()


def read_config(model: str, **hub: Any) -> PreTrainedConfig:
    """The whole configuration in a folder or on the hub; that of a multimodal model has one for each modality.

    Args:
        model: a folder or hub id.
        hub: keyword arguments of ``AutoConfig.from_pretrained``, such as ``revision``.

    Raises:
        InputError: it cannot be read, or the folder holds an adapter alone.
    """
    if (Path(model) / "adapter_config.json").exists() and not (Path(model) / "config.json").exists():
        raise InputError(f"{model!r} is an adapter, not a model: merge it into its base first and give the result.")
    with reading("the configuration", model):
        return AutoConfig.from_pretrained(model, **hub)


def vocab_size(model: str, **hub: Any) -> int:
    """Number of token ids that a model in a folder or on the hub can emit.

    Raises:
        InputError: its configuration cannot be read, or is not that of a language model.
    """
    size: int | None = getattr(config_of(model, **hub), "vocab_size", None)
    if size is None:
        raise InputError(f"the configuration of {model!r} names no vocab_size: give a language model.")
    return size


def num_ids(model: Any, **hub: Any) -> int:
    """Number of token ids that a model has embeddings for; of a model in memory, those that it really has.

    Args:
        model: a model object, a folder or a hub id.
        hub: as for :func:`config_of`.
    """
    if isinstance(model, str):
        return vocab_size(model, **hub)
    from crossdistill.ops.sharded import full_shape  # a name needs no PyTorch

    return full_shape(model.get_input_embeddings().weight)[0]


def declared_ids(model: Any, **hub: Any) -> dict[str, Any]:
    """The special ids of a model's generation configuration, or of its configuration if it has no other.

    Args:
        model: a model object, a folder or a hub id.
        hub: as for :func:`config_of`.

    Returns:
        Name, such as "eos_token_id" -> an id, a list of ids or None.
    """
    if isinstance(model, str):
        declared = _generation_config(model, hub.get("revision")) or config_of(model, **hub).to_dict()
    else:
        config = getattr(model, "generation_config", None) or model.config.get_text_config()
        declared = config.to_dict()
    return {name: declared.get(name) for name in DECLARED}


def declared_stops(name: str, size: int | None = None, revision: str | None = None) -> list[int]:
    """Token ids that end a model's turns by its generation configuration; empty if it declares none.

    Args:
        name: a folder or hub id.
        size: number of the model's token ids, if known.
        revision: on the hub.

    Raises:
        InputError: the file is damaged, or names something that is not a token id of the model.
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
    """The entries of ``generation_config.json``, empty if there is none. In a folder it may be damaged."""
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
        raise InputError(f"{path} holds a {type(entries).__name__}, not a JSON object: repair it.")
    return entries
