"""Token ids that a model reads or writes besides those of text: each needs a row of its embeddings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crossdistill.chat.effects import TOOL_CONVERSATION
from crossdistill.chat.messages import Prompt
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.stop import stop_ids, token_name
from crossdistill.findings import Finding, FindingError, Kind, Severity, When

SPECIAL_ID_BEYOND_MODEL = Kind(
    "special_id_beyond_model",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} of the {side} is {token!r} with the id {id}, and the model has {size} embeddings: name another token, or "
    "resize the model (resize_token_embeddings) and save it with its tokenizer.",
    "the run ends at the first rollout with an index error, on a GPU with an assertion of the device",
)
TWO_BEGINS = Kind(
    "two_begin_tokens",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the {side}'s chat template begins a conversation with {token!r} twice: take one of them out of its chat_template.",
    "the model reads a beginning that it was not trained on",
)
DECLARED = ("eos_token_id", "pad_token_id", "bos_token_id")
"""The ids that a generation_config declares."""

_USER = {"role": "user", "content": "?"}
_PROBES: tuple[Prompt, ...] = (
    [_USER],
    [{"role": "system", "content": "?"}, _USER],
    [_USER, {"role": "assistant", "content": "!"}, _USER],
)


def check_ids(
    renderer: PromptRenderer, size: int | None, side: str, declared: Mapping[str, Any] | None = None
) -> list[Finding]:
    """Find special ids beyond a model, and a doubled begin token.

    A control token beyond the model that neither tokenizer nor template nor model uses harms nothing (Gemma's image
    token), unless a prompt spells it.

    Args:
        renderer: of the model's prompts.
        size: embeddings of the model; None if that is unknown.
        side: what messages call the model, such as "student".
        declared: the model's ids by the names of its generation_config, each an id, a list or None.

    Example:
        >>> from transformers import AutoTokenizer
        >>> from crossdistill.demo.run import asset
        >>> renderer = PromptRenderer(AutoTokenizer.from_pretrained(asset("student")), {}, [])
        >>> check_ids(renderer, 310, "student")
        []
        >>> {finding.kind.name for finding in check_ids(renderer, 3, "student")}
        {'special_id_beyond_model'}
    """
    rendered = list(_rendered(renderer))
    found = [TWO_BEGINS(side=side, token=renderer.tokenizer.bos_token)] if _begins_twice(renderer, rendered) else []
    if size is None:
        return found
    beyond = {
        token_id: what for what, token_id in _used(renderer.tokenizer, rendered, declared or {}) if token_id >= size
    }
    return found + [
        SPECIAL_ID_BEYOND_MODEL(
            what=what, side=side, token=token_name(renderer.tokenizer, token_id), id=token_id, size=size
        )
        for token_id, what in beyond.items()
    ]


def refuse_ids(renderer: PromptRenderer, size: int | None, side: str, stops: Sequence[int]) -> None:
    """Check the special ids of a model that is given as an object.

    Args:
        renderer, size, side: as for :func:`check_ids`.
        stops: its stop tokens.

    Raises:
        FindingError: one is beyond the model.
    """
    for finding in check_ids(renderer, size, side, {"eos_token_id": list(stops)}):
        if finding.kind.severity is Severity.REFUSAL:
            raise FindingError(finding)


def tokens_beyond(tokenizer: Any, size: int | None) -> dict[str, int]:
    """The added tokens that a model has no embeddings for, with their ids; empty if its size is unknown."""
    added = tokenizer.added_tokens_decoder.items()
    return {token.content: token_id for token_id, token in added if size is not None and token_id >= size}


def _used(tokenizer: Any, rendered: Iterable[list[int]], declared: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every id with what it is, the most telling description last."""
    for ids in rendered:
        yield from (("a token of the chat template", token_id) for token_id in ids)
    yield from (("a stop token", token_id) for token_id in stop_ids(tokenizer))
    for name in DECLARED:
        yield from ((f"{name} in the generation_config", token_id) for token_id in _listed(declared.get(name)))
    for name in ("pad", "bos", "eos", "unk"):
        yield from ((f"the {name}_token", token_id) for token_id in _listed(getattr(tokenizer, f"{name}_token_id")))


def _listed(value: Any) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, int) and not isinstance(one, bool)]


def _rendered(renderer: PromptRenderer) -> Iterator[list[int]]:
    """Small conversations in the model's ids; those that its template refuses are left out."""
    if renderer.tokenizer.chat_template is None:
        return
    for probe in [*_PROBES, *([TOOL_CONVERSATION] if renderer.tools else [])]:
        try:
            yield renderer.render(probe)
        except TemplateRefusalError:
            continue


def _begins_twice(renderer: PromptRenderer, rendered: Iterable[list[int]]) -> bool:
    bos = renderer.tokenizer.bos_token_id
    return bos is not None and any(ids[:2] == [bos, bos] for ids in rendered)
