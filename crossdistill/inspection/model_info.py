"""One model of a pair, without its weights: what is read of it, and the facts that follow from that."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.chat import ensure_template, stop_ids, token_name
from crossdistill.chat.effects import TemplateEffects, template_effects
from crossdistill.findings import Finding
from crossdistill.inspection.vocab_findings import THINKING_TAGS
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class ModelInfo:
    """A model as far as it is known without its weights.

    Attributes:
        name: its folder or hub id.
        tokenizer: its own.
        vocab: its vocabulary, with as many ids as the model has.
        context: in tokens; None if its configuration states no limit.
        declared_stops: token ids that its generation configuration names as stops.
        template_kwargs: keyword arguments of its chat template.
        findings: about its tokenizer, as far as it was changed or harms nothing at once.
    """

    name: str
    tokenizer: Any
    vocab: ByteVocab
    context: int | None = None
    declared_stops: int | Iterable[int] | None = None
    template_kwargs: dict[str, Any] | None = None
    findings: Sequence[Finding] = ()


@dataclass(frozen=True)
class ModelFacts:
    """The facts that inspection reports about a model.

    Attributes:
        name: its folder or hub id.
        kind: of its vocabulary.
        ids: token ids that the model can emit.
        entries: ids with bytes.
        control: ids that the tokenizer knows and that have no bytes.
        padding: ids that the tokenizer does not know.
        unencodable: byte values that no entry has.
        encodes_any_bytes: whether it can encode all other bytes, in any order; if not, only the characters that it has
            entries for.
        unknown: name of the token that replaces what the tokenizer cannot encode, if there is one.
        has_template: whether it has a chat template of its own; if not, the plain default is used.
        stops: names of the tokens that end its turns.
        context: in tokens; None if its configuration states no limit.
        thinking: thinking tag -> "control" (one token without bytes), "token" (one token) or "text".
        effects: of its chat template on a conversation.
    """

    name: str
    kind: str
    ids: int
    entries: int
    control: int
    padding: int
    unencodable: bytes
    encodes_any_bytes: bool
    unknown: str | None
    has_template: bool
    stops: tuple[str, ...]
    context: int | None
    thinking: dict[str, str]
    effects: TemplateEffects


def facts(model: ModelInfo, names: Mapping[str, int]) -> ModelFacts:
    """The facts about a model. Gives its tokenizer the plain chat template if it has none.

    Args:
        model: read without weights.
        names: string -> id, of its tokenizer.
    """
    has_template = not ensure_template(model.tokenizer)
    known = np.zeros(len(model.vocab), dtype=bool)
    known[list(names.values())] = True
    has_bytes = model.vocab.lengths > 0
    stops = stop_ids(model.tokenizer, model.declared_stops)
    return ModelFacts(
        name=model.name,
        kind=model.vocab.kind,
        ids=len(model.vocab),
        entries=int(has_bytes.sum()),
        control=int((known & ~has_bytes).sum()),
        padding=int((~known & ~has_bytes).sum()),
        unencodable=model.vocab.unencodable,
        encodes_any_bytes=model.vocab.encodes_any_bytes,
        unknown=model.tokenizer.unk_token,
        has_template=has_template,
        stops=tuple(token_name(model.tokenizer, stop) for stop in stops),
        context=model.context,
        thinking={tag: _kind_of_tag(tag, names, model.vocab) for tag in THINKING_TAGS},
        effects=template_effects(model.tokenizer, model.template_kwargs),
    )


def _kind_of_tag(tag: str, names: Mapping[str, int], vocab: ByteVocab) -> str:
    if tag not in names:
        return "text"
    return "token" if vocab.lengths[names[tag]] else "control"
