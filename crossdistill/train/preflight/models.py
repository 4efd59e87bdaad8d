"""The configurations and tokenizers of a run's models."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import config_of, read_tokenizer, vocab_size
from crossdistill.tokens import ByteVocab


def hub_options(args: Any, side: str) -> dict[str, Any]:
    """Revision and trust in remote code with which a tokenizer and a configuration are read.

    Args:
        args: the trainer's configuration.
        side: "student" or "teacher".
    """
    init = (args.model_init_kwargs if side == "student" else args.teacher_model_init_kwargs) or {}
    declared = None if side == "student" else args.teacher_model_revision
    return {
        "revision": init.get("revision", declared),
        "trust_remote_code": init.get("trust_remote_code", args.trust_remote_code),
    }


def context_of(model: Any, **hub: Any) -> int | None:
    """Tokens of prompt and response together that a model reads; None if its configuration names no limit.

    Args:
        model: a folder, a hub id or a model.
        **hub: as :func:`hub_options` returns them.
    """
    return getattr(config_of(model, **hub), "max_position_embeddings", None)


def check_budget(context: int | None, budget: int | None, side: str, name: str = "max_completion_length") -> None:
    """Check that the response budget leaves room in a model's context.

    Args:
        context: tokens of prompt and response together; None if there is no limit.
        budget: tokens of a response.
        side: what messages call the model, such as "student".
        name: the option that sets the budget.

    Raises:
        InputError: it leaves none.
    """
    if context is not None and budget is not None and budget >= context:
        raise InputError(
            f"{name} = {budget} tokens does not fit the {side}'s context of {context} tokens: lower it, "
            f"or use a {side} with a longer context."
        )


def load_tokenizer(model: Any, side: str, tokenizer: Any = None, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a model: the given one, or that of its folder or hub id.

    If the weights are not loaded yet, its bytes are verified against the vocabulary size in the model's configuration.

    Args:
        model: a folder, a hub id or a model.
        side: what messages call the model: "student", or a teacher's label.
        tokenizer: the given one, if any.
        **options: of ``AutoTokenizer.from_pretrained``.

    Raises:
        InputError: there is no tokenizer, or it cannot be verified.
    """
    if tokenizer is None and isinstance(model, str):
        tokenizer = read_tokenizer(model, **options)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        parameter = "processing_class" if side == "student" else "teacher_processing_class"
        raise InputError(f"the {side} needs its tokenizer: pass {parameter} along with a model that is loaded.")
    if isinstance(model, str):
        try:
            hub = {name: options[name] for name in ("revision", "trust_remote_code") if name in options}
            ByteVocab.from_tokenizer(tokenizer, size=vocab_size(model, **hub))
        except InputError as error:
            raise InputError(f"the {side} {model!r} cannot be used: {error}") from None
    return tokenizer
