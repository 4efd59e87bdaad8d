"""The tokenizers of a run, read and checked against their models before weights are read."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from crossdistill.chat.determinism import make_deterministic
from crossdistill.chat.ids import check_ids
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.stop import adopt_end, stop_ids
from crossdistill.errors import InputError
from crossdistill.findings import Finding, FindingLog, Kind, Severity, When
from crossdistill.inspection.model_files import (
    declared_ids,
    declared_stops,
    hub_of,
    num_ids,
    read_tokenizer,
    vocab_size,
)
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.given import given_tokenizer

NO_END = Kind(
    "no_end",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the {side}'s tokenizer {name!r} names no end-of-text token, and neither its chat template nor the model's "
    "generation_config names another end of a turn: set its eos_token.",
    "a response never ends, and its end has no probability",
)


def load_tokenizer(
    model: Any, side: str, tokenizer: Any = None, log: FindingLog | None = None, **options: Any
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model: the given one, or that of its folder or hub id, checked against the model.

    Its sampling is switched off; without an end-of-text token it gets the one that the model or its template names.

    Args:
        model: a folder, a hub id or a model.
        side: what messages call the model: "student", or a teacher's label.
        tokenizer: the given one, if any, or its name.
        log: receives what is found.
        **options: of ``AutoTokenizer.from_pretrained``.

    Raises:
        InputError: there is no tokenizer, it cannot be verified, or it does not belong to the model.
    """
    parameter = "processing_class" if side == "student" else "teacher_processing_class"
    if tokenizer is not None:
        of_another = {name: value for name, value in options.items() if name != "revision"}
        tokenizer = given_tokenizer(tokenizer, parameter, **(options if tokenizer == model else of_another))
    elif isinstance(model, str):
        tokenizer = read_tokenizer(model, **options)
    else:
        raise InputError(f"the {side} needs its tokenizer: pass {parameter} along with a model that is loaded.")
    hub = hub_of(options)
    log = log or FindingLog()
    log.add_all(make_deterministic(tokenizer, side))
    if isinstance(model, str):
        size = vocab_size(model, **hub)
        try:
            ByteVocab.from_tokenizer(tokenizer, size=size)
        except InputError as error:
            raise InputError(f"the {side} {model!r} cannot be used: {error}") from None
    log.add_all(special_findings(model, side, tokenizer, **hub))
    return tokenizer


def special_findings(model: Any, side: str, tokenizer: Any, **hub: Any) -> list[Finding]:
    """Check the special ids of a model, and let its tokenizer adopt an end-of-text token if it names none.

    Args:
        model: a folder, a hub id or a model.
        side: what messages call it.
        tokenizer: its tokenizer.
        **hub: as :func:`hub_options` returns them.

    Raises:
        InputError: the generation_config.json is damaged, or names what is no id of the model.
    """
    size, declared = num_ids(model, **hub), declared_ids(model, **hub)
    stops = declared["eos_token_id"] or []
    if isinstance(model, str):
        stops = declared_stops(model, size, hub.get("revision")) or stops
    found = check_ids(PromptRenderer(tokenizer, {}, []), size, side, declared)
    if not adopt_end(tokenizer, [stops] if isinstance(stops, int) else stops) and not stop_ids(tokenizer, stops):
        found.append(NO_END(side=side, name=tokenizer.name_or_path))
    return found
