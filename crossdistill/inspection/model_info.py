"""One side of a pair: its vocabulary, its template, its stop tokens and its context."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.chat import ensure_template, stop_ids, token_name
from crossdistill.chat.effects import TemplateEffects, template_effects
from crossdistill.tokens import ByteVocab

THINK = ("<think>", "</think>")


@dataclass(frozen=True)
class ModelInfo:
    """A model as far as it can be known without its weights.

    name: its folder or hub id. tokenizer, vocab: its own, the vocabulary as large as the model's. context: tokens, None
    where its configuration names no limit. declared_stops: token ids of its generation configuration. template_kwargs:
    keyword arguments of its chat template.
    """

    name: str
    tokenizer: Any
    vocab: ByteVocab
    context: int | None = None
    declared_stops: int | Iterable[int] | None = None
    template_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What is told of a side.

    ids: token ids that the model can emit. entries: those with bytes. control: known to the tokenizer, without bytes.
    padding: not known to it. holes: byte values that no entry spells. spells_bytes: whether it can spell any others, in
    any order; else it spells the characters that it has entries for. unknown: name of the token that stands in for what
    the tokenizer cannot spell. has_template: its own; the plain default is used where it has none. stops: names of the
    tokens that end its turns. thinking: how each thinking tag is read: "control" (one token without bytes), "token"
    (one token) or "text". effects: of its chat template.
    """

    name: str
    kind: str
    ids: int
    entries: int
    control: int
    padding: int
    holes: bytes
    spells_bytes: bool
    unknown: str | None
    has_template: bool
    stops: tuple[str, ...]
    context: int | None
    thinking: dict[str, str]
    effects: TemplateEffects


def facts(side: ModelInfo, names: Mapping[str, int]) -> ModelFacts:
    """Everything there is to tell of a side; gives its tokenizer the plain template where it has none.

    names: its tokenizer's entries, string -> id.
    """
    has_template = not ensure_template(side.tokenizer)
    known = np.zeros(len(side.vocab), dtype=bool)
    known[list(names.values())] = True
    has_bytes = side.vocab.lengths > 0
    stops = stop_ids(side.tokenizer, side.declared_stops)
    return ModelFacts(
        name=side.name,
        kind=side.vocab.kind,
        ids=len(side.vocab),
        entries=int(has_bytes.sum()),
        control=int((known & ~has_bytes).sum()),
        padding=int((~known & ~has_bytes).sum()),
        holes=side.vocab.unencodable,
        spells_bytes=side.vocab.spells_bytes,
        unknown=side.tokenizer.unk_token,
        has_template=has_template,
        stops=tuple(token_name(side.tokenizer, stop) for stop in stops),
        context=side.context,
        thinking={tag: _reading_of(tag, names, side.vocab) for tag in THINK},
        effects=template_effects(side.tokenizer, side.template_kwargs),
    )


def _reading_of(tag: str, names: Mapping[str, int], vocab: ByteVocab) -> str:
    if tag not in names:
        return "text"
    return "token" if vocab.lengths[names[tag]] else "control"
