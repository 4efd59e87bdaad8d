"""Everything about a run that is known before weights are read: the student, the teachers, the data."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.distill.checks import check_signal, check_temperature
from crossdistill.distill.response import ONE_TEACHER
from crossdistill.distill.routing import Routing
from crossdistill.errors import InputError
from crossdistill.inspection.choice import AUTO, Choice, choose
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.inspection.model_files import check_pair, is_url
from crossdistill.objectives import Objective, VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.data import all_rows, check_conversations, check_data, rows_to_render
from crossdistill.train.preflight.models import (
    check_budget,
    check_weights,
    context_of,
    given_teacher,
    hub_options,
    load_tokenizer,
)
from crossdistill.train.preflight.served import check_served, served_teacher
from crossdistill.train.preflight.tool_calling import check_tools

Tools = Sequence[Callable[..., Any]]

_LOGGER = logging.getLogger("crossdistill")


@dataclass(frozen=True)
class TeacherSetup:
    """A teacher of the run.

    Attributes:
        model: a folder, a hub id, a model or a Teacher; of a URL, the Teacher that was made of it.
        tokenizer: the teacher's.
        template_kwargs: keyword arguments of its chat template.
        label: what messages call it.
        context: tokens of prompt and response together; None if there is no limit.
    """

    model: Any
    tokenizer: Any
    template_kwargs: dict[str, Any]
    label: str
    context: int | None

    def renderer(self, tools: Tools | None) -> PromptRenderer:
        """Renders prompts for this teacher."""
        return PromptRenderer(self.tokenizer, self.template_kwargs, tools or [])


@dataclass(frozen=True)
class Setup:
    """The parts of a run, checked.

    Attributes:
        student: a folder, a hub id or a model.
        tokenizer: the student's.
        teachers: by name.
        routing: which of them scores what.
        checked_rows: rows of the data whose prompts were rendered.
    """

    student: Any
    tokenizer: Any
    teachers: dict[str, TeacherSetup]
    routing: Routing
    checked_rows: list[Mapping[str, Any]]

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
        """Check a run, the cheapest first.

        Args:
            model: the student: a folder, a hub id or a model.
            teacher: a folder, a hub id, the URL of a server, a model or a Teacher; or several by name.
            args: the trainer's configuration.
            datasets: of training and evaluation.
            tokenizers: of student and teacher, None if not given; the teacher's by name if there are several.
            tools: functions that the student may call.

        Raises:
            InputError: something that cannot work.
        """
        model, models = _plain(model), _models_by_name(teacher)
        objective = None if args.objective == AUTO else args.make_objective()
        check_data(args, *datasets)
        _check_models(model, models, args)
        routing = _routing(models, args, datasets, objective)
        student = _student(model, args, tokenizers[0], tools)
        teachers = {name: _teacher(name, models, args, tokenizers[1]) for name in models}
        by_label = {one.label: one.tokenizer for one in teachers.values()}
        check_text_tokens(args.text_tokens or [], {"student": student.tokenizer, **by_label})
        for one in teachers.values():
            _check_teacher(one, objective, args, student)
        rows = _check_rendering(datasets, args, student, context_of(model, **_student_hub(args)), teachers, routing)
        for one_model in (model, *models.values()):
            check_weights(one_model)
        return cls(model, student.tokenizer, teachers, routing, rows)


@contextmanager
def setting_up() -> Iterator[None]:
    """Report as InputError what TRL or PEFT reject while a trainer is made, such as unknown target modules."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"the run cannot be set up: {' '.join(str(error).split())}") from error
