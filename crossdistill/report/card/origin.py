"""What a model's own card says of it: its licence, and the model on the hub that it derives from."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from yaml import YAMLError

CARD = "README.md"
_METADATA = "---\n"
_LICENCE_FILES = ("LICENSE*", "LICENCE*", "COPYING*")
_PATIENCE_S = 5.0
_UNREACHABLE = (OSError, EntryNotFoundError, HFValidationError)


@dataclass(frozen=True)
class Licence:
    """A licence as a model's card or its folder states it.

    Attributes:
        metadata: the card's entries ``license``, ``license_name`` and ``license_link``; empty without such entries.
        text: in words.

    Example:
        >>> Licence().text
        'not stated'
    """

    metadata: tuple[tuple[str, str], ...] = ()
    text: str = "not stated"


def licence_of(model: str) -> Licence:
    """The licence of a model, by the card in its folder or on the hub, or else by the name of a file in its folder.

    Args:
        model: a folder or hub id. A hub that does not answer within seconds states nothing.
    """
    card = card_of(model)
    entries = {} if card is None else {key: card.data.get(key) for key in ("license", "license_name", "license_link")}
    stated = tuple((key, value) for key, value in entries.items() if isinstance(value, str))
    if stated and stated[0][0] == "license":
        return Licence(stated, f"{', '.join(value for _, value in stated)} (from its card)")
    for pattern in _LICENCE_FILES:
        for path in sorted(Path(model).glob(pattern)) if Path(model).is_dir() else ():
            return Licence(text=f"see {path.name} in its folder")
    return Licence()


def hub_id_of(model: str) -> str | None:
    """The model on the hub that a model is or derives from, by the card in its folder; None if none is named."""
    if not Path(model).exists():
        return model
    card = card_of(model)
    base = None if card is None else card.data.get("base_model")
    base = base[0] if isinstance(base, list) and len(base) == 1 else base
    return base if isinstance(base, str) and not Path(base).exists() else None


def card_of(model: str) -> ModelCard | None:
    """The card in a model's folder or on the hub; None if there is none with metadata that can be read.

    Args:
        model: a folder or hub id.
    """
    path = Path(model) / CARD
    if not Path(model).exists():
        path = _from_hub(model) or path
    try:
        text = path.read_text(encoding="utf-8")
        return ModelCard(text, ignore_metadata_errors=True) if text.startswith(_METADATA) else None
    except (OSError, ValueError, YAMLError):
        return None


@lru_cache
def _from_hub(model: str) -> Path | None:
    try:
        return Path(hf_hub_download(model, CARD, etag_timeout=_PATIENCE_S))
    except _UNREACHABLE:
        return None
