"""The teachers of a run, as far as they are known before weights are read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.names import ONE_TEACHER, REFERENCE
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.inspection.model_files import num_ids
from crossdistill.inspection.model_name import is_url
from crossdistill.teachers.base import given_teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.models import context_of, hub_options
from crossdistill.train.preflight.served import served_teacher
from crossdistill.train.preflight.tokenizers import load_tokenizer

Tools = Sequence[Callable[..., Any]]


def plain_name(model: Any) -> Any:
    """A path as text; any other model as it is."""
    return str(model) if isinstance(model, Path) else model


@dataclass(frozen=True)
class TeacherSetup:
    """A teacher of the run.

    Attributes:
        model: a folder, a hub id, a model or a Teacher; of a URL, the Teacher that was made of it.
        tokenizer: the teacher's.
        template_kwargs: keyword arguments of its chat template.
        label: what messages call it.
        context: tokens of prompt and response together; None if there is no limit.
        num_ids: token ids that it has embeddings for.
        has_template: whether its tokenizer came with a chat template.
    """

    model: Any
    tokenizer: Any
    template_kwargs: dict[str, Any]
    label: str
    context: int | None
    num_ids: int
    has_template: bool = True

    def renderer(self, tools: Tools | None) -> PromptRenderer:
        """The renderer of this teacher's prompts."""
        return PromptRenderer(self.tokenizer, self.template_kwargs, tools or [])

    def vocab(self, text_tokens: Collection[str]) -> ByteVocab:
        """The bytes of the teacher's tokens, perhaps without the padding of its model."""
        given = given_teacher(self.model)
        return ByteVocab.from_tokenizer(self.tokenizer, text_tokens=text_tokens) if given is None else given.vocab


def models_by_name(teacher: Any) -> dict[str, Any]:
    """The given teachers, each of a known kind; the reference comes last, because the first one may have to write."""
    models = teacher if isinstance(teacher, Mapping) else {ONE_TEACHER: teacher}
    if not models:
        raise InputError("the run names no teacher: give at least one.")
    named = {str(name): plain_name(model) for name, model in models.items()}
    for model in named.values():
        given_teacher(model)
    return dict(sorted(named.items(), key=lambda item: item[0] == REFERENCE))


def label_of(name: str, models: Mapping[str, Any]) -> str:
    """What messages call one of the teachers."""
    if name == REFERENCE:
        return "reference teacher"
    return ONE_TEACHER if models.keys() <= {name, REFERENCE} else f"teacher {name!r}"


def _value_of(name: str, models: Mapping[str, Any], values: Any) -> Any:
    """One teacher's value of an option that is a table by name if there are several teachers."""
    if len(models) == 1 or values is None:
        return values
    if not isinstance(values, Mapping) or not values.keys() <= models.keys():
        raise InputError(
            "with several teachers, teacher_chat_template_kwargs, teacher_server and teacher_processing_class are "
            f"tables by their names: {', '.join(models)}."
        )
    return values.get(name)


def teacher_context(model: Any, args: CrossTokenizerConfig) -> int | None:
    """Tokens of prompt and response together that a teacher reads; None if there is no limit."""
    given = given_teacher(model)
    return context_of(model, **hub_options(args, "teacher")) if given is None else given.max_length


def teacher_setup(
    name: str, models: Mapping[str, Any], args: CrossTokenizerConfig, tokenizers: Any, log: FindingLog
) -> TeacherSetup:
    """One of the teachers; if it is named by a URL, its server is probed.

    Args:
        name: of the teacher.
        models: all teachers by name.
        args: the trainer's configuration.
        tokenizers: the given ones: of the only teacher, or by name; None if there are none.
        log: receives what is found.

    Raises:
        InputError: it cannot teach, or an option is no table by the teachers' names.
    """
    model, label = models[name], label_of(name, models)
    is_table = isinstance(tokenizers, Mapping) and tokenizers.keys() <= models.keys()
    tokenizer = tokenizers.get(name) if is_table else _value_of(name, models, tokenizers)
    if is_url(model):
        options = _value_of(name, models, args.teacher_server) or {}
        model = served_teacher(model, label, tokenizer, args, options, log)
    given = given_teacher(model)
    if given is None:
        tokenizer = load_tokenizer(model, label, tokenizer, log, **hub_options(args, "teacher"))
    else:
        tokenizer = given.tokenizer
    has_template = not ensure_template(tokenizer)
    template_kwargs = _value_of(name, models, args.teacher_chat_template_kwargs) or {}
    size = num_ids(model, **hub_options(args, "teacher")) if given is None else len(given.vocab)
    context = teacher_context(model, args)
    return TeacherSetup(model, tokenizer, template_kwargs, label, context, size, has_template)
