"""Tokenizers that read a text in another way each time: BPE dropout, and sampling of SentencePiece and Unigram models.

Such noise regularises training from scratch. In distillation it gives the two sides of a comparison different prompts,
so it is switched off in the tokenizer itself, which the run also saves: whoever uses the student later reads prompts as
it was trained to.
"""

from collections.abc import Callable, Iterator
from typing import Any

from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.tokens.source import PROBE_TEXTS

SAMPLING_OFF = Kind(
    "tokenizer_sampling_off",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the {side}'s tokenizer reads texts at random ({setting}): this is switched off, also in the tokenizer that is "
    "saved with the student.",
    "a prompt is read in another way at each rendering, and the two sides of a comparison differ",
)
RANDOM_TOKENIZER = Kind(
    "random_tokenizer",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the {side}'s tokenizer ({type}) reads one text in several ways, and what makes it do so is not known: switch its "
    "sampling off before it is given to the run.",
    "a prompt is read in another way at each rendering, and the two sides of a comparison differ",
)
_NUM_READINGS = 8


def make_deterministic(tokenizer: Any, side: str) -> list[Finding]:
    """Switch a tokenizer's sampling off.

    Args:
        tokenizer: of Hugging Face's form; changed.
        side: what messages call the model, such as "student".

    Returns:
        What was switched off; a refusal if the tokenizer still reads one text in several ways.

    Example:
        >>> from transformers import AutoTokenizer
        >>> from crossdistill.demo.run import asset
        >>> tokenizer = AutoTokenizer.from_pretrained(asset("student"))
        >>> tokenizer.backend_tokenizer.model.dropout = 0.1
        >>> [finding.kind.name for finding in make_deterministic(tokenizer, "student")]
        ['tokenizer_sampling_off']
        >>> make_deterministic(tokenizer, "student")
        []
    """
    found = [SAMPLING_OFF(side=side, setting=setting) for setting in _switched_off(tokenizer)]
    read = tokenizer if callable(tokenizer) else None
    if read is not None and _is_random(lambda text: list(read(text)["input_ids"])):
        found.append(RANDOM_TOKENIZER(side=side, type=type(tokenizer).__name__))
    return found


def _switched_off(tokenizer: Any) -> Iterator[str]:
    """The settings that were on, by name."""
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    for name in ("dropout", "alpha"):
        value = getattr(model, name, None)
        if value:
            setattr(model, name, None)
            yield f"{name} = {value:.3g} of its {type(model).__name__} model"
    processor, settings = getattr(tokenizer, "sp_model", None), getattr(tokenizer, "sp_model_kwargs", None) or {}
    if processor is not None and getattr(processor, "_enable_sampling", False):
        processor._enable_sampling = False
        settings.pop("enable_sampling", None)  # it is saved with the tokenizer
        yield "enable_sampling of SentencePiece"


def _is_random(read: Callable[[str], list[int]]) -> bool:
    return any(read(text) != ids for text in PROBE_TEXTS for ids in [read(text)] for _ in range(_NUM_READINGS))
