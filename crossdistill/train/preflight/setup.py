"""Everything about a run that is known before weights are read: the student, the teachers, the data."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from crossdistill.chat import ensure_template, stop_ids, token_name
from crossdistill.chat.findings import Uses
from crossdistill.chat.own_template import NO_TEMPLATE, has_own_template, teacher_findings
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.distill.checks import check_signal, check_temperature
from crossdistill.distill.groups import no_tools
from crossdistill.distill.names import REFERENCE
from crossdistill.distill.routing import Routing
from crossdistill.errors import InputError
from crossdistill.findings import Finding, FindingLog, Kind, Severity, When
from crossdistill.inspection.choice import AUTO
from crossdistill.inspection.model_files import num_ids
from crossdistill.inspection.model_name import is_url
from crossdistill.inspection.same_model import check_copy, check_teachers, is_alone
from crossdistill.inspection.vocab_findings import coverage_findings, thinking_findings
from crossdistill.objectives import Objective
from crossdistill.teachers.base import given_teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.loading import student_options, teacher_options
from crossdistill.train.monitor.template_warnings import PairWarnings
from crossdistill.train.off_policy import check_writer, completion_findings
from crossdistill.train.preflight.data import all_rows, check_data, num_rows
from crossdistill.train.preflight.device import device_findings
from crossdistill.train.preflight.models import check_budget, context_of, hub_options
from crossdistill.train.preflight.packages import version_findings
from crossdistill.train.preflight.rows import Reader, RowCheck
from crossdistill.train.preflight.schedule import schedule_findings
from crossdistill.train.preflight.served import check_served
from crossdistill.train.preflight.teachers import (
    TeacherSetup,
    Tools,
    label_of,
    models_by_name,
    plain_name,
    teacher_context,
    teacher_setup,
)
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.tool_calling import check_tools
from crossdistill.train.preflight.vllm import check_vllm
from crossdistill.train.preflight.weights import check_weights
from crossdistill.train.sampling_settings import check_ids, shaping_settings
from crossdistill.train.unsupported import check_loading

REFERENCE_IS_TEACHER = Kind(
    "reference_is_teacher",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the reference teacher is the {label} itself, so that every advantage from it is 0: name a weaker model of its "
    "family as the reference.",
    "nothing is learnt from this teacher",
)


@dataclass(frozen=True)
class Setup:
    """The parts of a run, checked.

    Attributes:
        student: a folder, a hub id or a model.
        tokenizer: the student's.
        teachers: by name.
        routing: which of them scores what.
        checked_rows: rows of the data whose prompts were rendered.
        findings: what was found that does not end the run.
        row_check: what a row of the data must be.
    """

    student: Any
    tokenizer: Any
    teachers: dict[str, TeacherSetup]
    routing: Routing
    checked_rows: list[Mapping[str, Any]]
    findings: FindingLog
    row_check: RowCheck

    @classmethod
    def of(
        cls,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig,
        datasets: tuple[Any, Any],
        tokenizers: tuple[Any, Any],
        tools: list[Callable[..., Any]] | None,
        quantization_config: Any = None,
    ) -> "Setup":
        """Check a run, the cheapest first.

        Args:
            model: the student: a folder, a hub id or a model.
            teacher: a folder, a hub id, the URL of a server, a model or a Teacher; or several by name.
            args: the trainer's configuration.
            datasets: of training and evaluation.
            tokenizers: of student and teacher, None if not given; the teacher's by name if there are several.
            tools: functions that the student may call.
            quantization_config: with which the student is loaded, if any.

        Raises:
            InputError: something that cannot work.
        """
        model, models = plain_name(model), models_by_name(teacher)
        objective = None if args.objective == AUTO else args.make_objective()
        log = FindingLog(is_emitter=args.process_index == 0)
        log.add_all(version_findings())
        if tools and objective is not None and objective.compares_groups:
            raise no_tools(objective)
        check_data(args, *datasets)
        check_vllm(args)
        _check_models(model, models, args)
        log.add_all(device_findings(args.given_device, args.mixed_precision))
        log.add_all(_reference_findings(models))
        routing = _routing(models, args, datasets, objective)
        _check_reward(args, datasets[0])
        student = _student(model, args, tokenizers[0], tools, log)
        check_ids(args, student.num_ids)
        teachers = {name: teacher_setup(name, models, args, tokenizers[1], log) for name in models}
        _check_teachers(teachers.values(), student.renderer, args, objective)
        row_check = _row_check(student, teachers, routing, args, log)
        checked_rows = row_check.check_all(datasets)
        setup = cls(
            model,
            student.renderer.tokenizer,
            teachers,
            routing,
            checked_rows,
            log,
            row_check,
        )
        setup.findings.add_all(schedule_findings(args, num_rows(datasets[0])))
        setup.find(student.renderer, args)
        setup.findings.add_all(completion_findings(args, datasets[0], row_check.completions))
        check_weights("student", model, student_options(args, quantization_config))
        for one in teachers.values():
            check_weights(one.label, one.model, teacher_options(args))
        if is_alone(teachers, is_rewarded=bool(args.reward)):
            (one,) = teachers.values()
            check_copy(model, one.model, student.renderer, one.renderer(tools))
        return setup

    def find(self, student: PromptRenderer, args: CrossTokenizerConfig) -> None:
        """Find what `crossdistill inspect` finds, as far as it matters to this run and its data."""
        self.findings.add_all(shaping_settings(args))
        text_tokens = args.text_tokens or ()
        vocab = ByteVocab.from_tokenizer(self.tokenizer, text_tokens=text_tokens)
        self.findings.add_all(thinking_findings(self.tokenizer, "student", text_tokens))
        if not has_own_template(self.tokenizer) and Uses.of([row["prompt"] for row in self.checked_rows]).messages:
            self.findings.add(NO_TEMPLATE())
        for name, one in self.teachers.items():
            self.findings.add_all(thinking_findings(one.tokenizer, one.label, text_tokens))
            self.findings.add_all(coverage_findings(vocab, one.vocab(text_tokens), one.label))
            pair = PairWarnings(student, one.renderer(student.tools), self.findings, one.label, args.stop_unit)
            prompts = [row["prompt"] for row in self.checked_rows if name in self.routing.of(row)]
            pair.see_prompts(prompts)
            if args.stop_unit and name != REFERENCE and Uses.of(prompts).messages:
                stops = [token_name(one.tokenizer, stop) for stop in stop_ids(one.tokenizer)]
                self.findings.add_all(teacher_findings(one.label, one.model, one.has_template, stops))


@contextmanager
def setting_up() -> Iterator[None]:
    """Report as InputError what TRL or PEFT reject while a trainer is made, such as unknown target modules."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"the run cannot be set up: {' '.join(str(error).split())}") from error


# ---- names and contexts ---------------------------------------------------------------------------------------------


def _check_models(student: Any, models: Mapping[str, Any], args: CrossTokenizerConfig) -> None:
    """Check what configurations tell; a server is asked later."""
    check_loading("model_init_kwargs", args.model_init_kwargs, [student])
    check_loading("teacher_model_init_kwargs", args.teacher_model_init_kwargs, models.values())
    check_teachers(student, models.values(), is_rewarded=bool(args.reward))
    budget = args.max_completion_length
    check_budget(_student_context(student, args), budget, "student")
    for name, model in models.items():
        if not is_url(model):
            check_budget(teacher_context(model, args), budget, label_of(name, models))
    check_served(models, args)


def _reference_findings(models: Mapping[str, Any]) -> Iterator[Finding]:
    """What is to be said of teachers that are the reference as well."""
    if REFERENCE in models:
        for name, model in models.items():
            if name != REFERENCE and _is_same(model, models[REFERENCE]):
                yield REFERENCE_IS_TEACHER(label=label_of(name, models))


def _is_same(model: Any, other: Any) -> bool:
    if isinstance(model, str) and isinstance(other, str):
        return model == other or Path(model).resolve() == Path(other).resolve()
    return model is other


def _student_context(model: Any, args: CrossTokenizerConfig) -> int | None:
    return context_of(model, **hub_options(args, "student"))


# ---- the student ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Student:
    renderer: PromptRenderer
    context: int | None
    num_ids: int


def _student(model: Any, args: CrossTokenizerConfig, tokenizer: Any, tools: Tools | None, log: FindingLog) -> _Student:
    options = {"padding_side": "left", **hub_options(args, "student")}
    tokenizer = load_tokenizer(model, "student", tokenizer, log, **options)
    ensure_template(tokenizer)
    template_kwargs = cast(dict[str, Any], args.chat_template_kwargs or {})
    renderer = PromptRenderer(tokenizer, template_kwargs, tools or [])
    return _Student(renderer, _student_context(model, args), num_ids(model, **hub_options(args, "student")))


# ---- the teachers ---------------------------------------------------------------------------------------------------


def _check_teachers(
    teachers: Collection[TeacherSetup],
    student: PromptRenderer,
    args: CrossTokenizerConfig,
    objective: Objective | None,
) -> None:
    """Check each teacher against the student and the objective, None if it is chosen later."""
    tokenizers = {one.label: one.tokenizer for one in teachers}
    check_text_tokens(args.text_tokens or [], {"student": student.tokenizer, **tokenizers})
    for one in teachers:
        given = given_teacher(one.model)
        if given is not None and objective is not None:
            check_signal(objective, given)
            check_temperature(objective, given, args.temperature)
        if student.tools:
            check_tools(student, one.renderer(student.tools))


# ---- the data -------------------------------------------------------------------------------------------------------


def _routing(
    models: Mapping[str, Any], args: CrossTokenizerConfig, datasets: Iterable[Any], objective: Objective | None
) -> Routing:
    """The routing of the configuration, which must send every row to a teacher."""
    rules, weights = (cast(dict[str, Any] | None, value) for value in (args.teacher_rules, args.teacher_weights))
    routing = Routing(tuple(models), rules, weights)
    check_writer(args, len(models))
    if objective is None and routing.mixes and args.on_policy_share < 1:
        raise InputError(
            f"objective {AUTO!r} knows none that both mixes teachers, or subtracts a reference, and holds on text that "
            f"the student did not sample, as on_policy_share = {args.on_policy_share} asks: set it to 1, or name an "
            "objective."
        )
    routing.check(all_rows(datasets), objective)
    return routing


def _check_reward(args: CrossTokenizerConfig, train_dataset: Any) -> None:
    reward = args.make_reward()
    if reward is not None and train_dataset is not None:
        reward.check(all_rows([train_dataset]))


def _row_check(
    student: _Student,
    teachers: Mapping[str, TeacherSetup],
    routing: Routing,
    args: CrossTokenizerConfig,
    log: FindingLog,
) -> RowCheck:
    """The check of rows by the models that read them."""
    words, tools = tuple(args.text_tokens or ()), student.renderer.tools
    readers = {
        name: Reader(one.label, one.renderer(tools), one.context, one.num_ids, words) for name, one in teachers.items()
    }
    reader = Reader("student", student.renderer, student.context, student.num_ids, words)
    return RowCheck(reader, readers, args.max_completion_length, routing, log)
