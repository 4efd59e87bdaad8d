"""Everything about a run that is known before weights are read."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.distill.routing import ONE, Routing
from crossdistill.errors import InputError
from crossdistill.inspection.choice import AUTO, Choice, choose
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.inspection.model_files import check_pair, is_url
from crossdistill.objectives import VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight import data as prompts
from crossdistill.train.preflight import models as checks
from crossdistill.train.preflight.models import load_tokenizer
from crossdistill.train.preflight.served import check_served, served_teacher
from crossdistill.train.preflight.tool_calling import check_tools


@dataclass(frozen=True)
class TeacherSetup:
    """model: a folder, a hub id, a model or a Teacher. tokenizer: its; a Teacher's own. template_kwargs: of its chat
    template. label: what it is called in sentences.
    """

    model: Any
    tokenizer: Any
    template_kwargs: dict[str, Any]
    label: str

    def side(self, tools: Sequence[Callable[..., Any]] | None) -> PromptRenderer:
        return PromptRenderer(self.tokenizer, self.template_kwargs, tools or [])


@dataclass(frozen=True)
class Setup:
    """student: a folder, a hub id or a model. tokenizer: its. teachers: by name. looked_at: rows of the data whose
    prompts were rendered.
    """

    student: Any
    tokenizer: Any
    teachers: dict[str, TeacherSetup]
    routing: Routing
    looked_at: list[Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig,
        datasets: tuple[Any, Any],
        tokenizers: tuple[Any, Any],
        tools: list[Callable[..., Any]] | None,
    ) -> "Setup":
        """Check it all.

        Args:
            teacher: one, or several by name. datasets: of training and evaluation. tokenizers: of student and teacher
                (by name where there are several), where given.

        Raises InputError for what cannot work.
        """
        model, named = _plain(model), _named(teacher)
        checks.check_data(args, *datasets)
        for one in named.values():
            check_pair(model, one)
        budget = args.max_completion_length
        checks.check_budget(model, budget, "student", **_hub(args, "student"))
        for name, one in named.items():
            if not is_url(one):
                checks.check_budget(one, budget, _label(name, named), **_hub(args, "teacher"))
        check_served(named, args)
        rules, weights = (cast(dict[str, Any] | None, value) for value in (args.teacher_rules, args.teacher_weights))
        routing = Routing(tuple(named), rules, weights)
        objective = None if args.objective == AUTO else args.make_objective()
        routing.check((row for dataset in datasets for row in prompts.rows_of(dataset)), objective)
        tokenizer = load_tokenizer(model, "student", tokenizers[0], padding_side="left", **_hub(args, "student"))
        ensure_template(tokenizer)
        teachers = {name: _teacher(name, named, args, tokenizers[1]) for name in named}
        sides = {one.label: one.tokenizer for one in teachers.values()}
        check_text_tokens(args.text_tokens or [], {"student": tokenizer, **sides})
        rows = prompts.rows_to_render(datasets)
        student = PromptRenderer(tokenizer, cast(dict[str, Any], args.chat_template_kwargs or {}), tools or [])
        context = checks.context_of(model, **_hub(args, "student"))
        for one in teachers.values():
            if objective is not None and not isinstance(one.model, str | torch.nn.Module):
                checks.check_signal(objective, one.model)
                checks.check_temperature(objective, one.model, args.temperature)
            if tools:
                check_tools(student, one.side(tools))
        prompts.check_conversations("student", student, context, rows, budget)
        for name, one in teachers.items():
            own = [(number, row) for number, row in rows if name in routing.of(row)]
            context = checks.context_of(one.model, **_hub(args, "teacher"))
            prompts.check_conversations(one.label, one.side(tools), context, own, budget)
        for whole in (model, *named.values()):
            checks.check_weights(whole)
        return cls(model, tokenizer, teachers, routing, [row for _, row in rows])


def _plain(model: Any) -> Any:
    return str(model) if isinstance(model, Path) else model


def _named(teacher: Any) -> dict[str, Any]:
    if not isinstance(teacher, Mapping):
        return {ONE: _plain(teacher)}
    if not teacher:
        raise InputError("the run names no teacher: give at least one.")
    return {str(name): _plain(one) for name, one in teacher.items()}


def _label(name: str, named: Mapping[str, Any]) -> str:
    return ONE if len(named) == 1 else f"teacher {name!r}"


def _hub(args: CrossTokenizerConfig, side: str) -> dict[str, Any]:
    return checks.hub_options(args, side)


def _of(name: str, named: Mapping[str, Any], values: Any) -> Any:
    """A teacher's own value, where `values` are by name for several."""
    if len(named) == 1 or values is None:
        return values
    if not isinstance(values, Mapping) or not values.keys() <= named.keys():
        raise InputError(
            "with several teachers, teacher_chat_template_kwargs, teacher_server and teacher_processing_class are "
            f"tables by their names: {', '.join(named)}."
        )
    return values.get(name)


def _teacher(name: str, named: Mapping[str, Any], args: CrossTokenizerConfig, tokenizers: Any) -> TeacherSetup:
    model, label, given = named[name], _label(name, named), _of(name, named, tokenizers)
    if is_url(model):
        model = served_teacher(model, label, given, args, _of(name, named, args.teacher_server) or {})
    if isinstance(model, str | torch.nn.Module):
        tokenizer = load_tokenizer(model, label, given, **_hub(args, "teacher"))
    else:
        tokenizer = model.tokenizer
    ensure_template(tokenizer)
    return TeacherSetup(model, tokenizer, _of(name, named, args.teacher_chat_template_kwargs) or {}, label)


_LOGGER = logging.getLogger("crossdistill")


def choice_for(args: CrossTokenizerConfig, teachers: Sequence[tuple[Teacher, VocabPair]]) -> Choice:
    """What the configuration names, or asks to have chosen for teachers, each with its and the student's vocabulary."""
    if args.objective != AUTO:
        return Choice(args.objective, "named in the configuration", cast(dict[str, Any], args.objective_options or {}))
    any_text = args.on_policy_share < 1
    found = [_choice(teacher, pair, any_text) for teacher, pair in teachers]
    alike = all((one.objective, one.options) == (found[0].objective, found[0].options) for one in found)
    chosen = found[0] if alike and not args.teacher_weights else _common(teachers[0][1], any_text)
    _LOGGER.info("objective %s: %s", chosen.objective, chosen.reason)
    return chosen


def _choice(teacher: Teacher, pair: VocabPair, any_text: bool) -> Choice:
    measure = lambda: Measure.of(read_documents(pair.student, pair.teacher))  # noqa: E731
    return choose(teacher.signal, teacher.max_top_k, pair, measure, any_text)


def _common(pair: VocabPair, any_text: bool) -> Choice:
    """What every teacher can give, whatever its tokenizer."""
    choice = choose(Signal.SAMPLED, None, pair, Measure, any_text)
    return replace(choice, reason=f"one for all teachers of the run: {choice.reason}")
