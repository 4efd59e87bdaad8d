"""The section ``crossdistill`` of verl's configuration."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossdistill.distill.routing import Routing
from crossdistill.errors import InputError
from crossdistill.inspection.choice import AUTO
from crossdistill.objectives import Objective, get
from crossdistill.objectives.dpca import DPCA
from crossdistill.runs.config import TeacherTable, validated
from crossdistill.train.monitor.coverage_guard import check_settings

CLIPS = {"clip_low": "clip_ratio_low", "clip_high": "clip_ratio_high", "dual_clip": "clip_ratio_c"}
"""Options of the policy loss -> their keys in verl, below ``actor_rollout_ref.actor``."""


class VerlOptions(BaseModel):
    """What verl's configuration says about distillation; the names are those of a run file.

    Attributes:
        teacher, teacher_tokenizer: of one teacher: a folder, a hub id or the URL of a server.
        teachers: several by name, each with `model` and `tokenizer`.
        teacher_rules, teacher_weights: how several share the prompts; otherwise the data's column ``teacher`` decides.
        teacher_chat_template_kwargs: keyword arguments of the teacher's chat template; by name if there are several.
        teacher_server: fields of :class:`crossdistill.teachers.ServedOptions`; by name if there are several.
        teacher_cache, teacher_cache_mib: folder and size of a cache of a server's scores.
        teacher_batch_tokens: tokens that a local teacher scores at once.
        objective, objective_options: a method that needs the policy loss alone. Its clips are verl's own settings.
        stop_unit, text_tokens, min_coverage, low_coverage: as in a run file.
        validation: what verl's validation measures: "teacher_gap", or "reward" for a reward function of verl's.

    Example:
        >>> options = VerlOptions(teacher="http://host:8000", teacher_tokenizer="org/teacher")
        >>> options.named_teachers["teacher"].model
        'http://host:8000'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str | None = None
    teacher_tokenizer: str | None = None
    teachers: dict[str, TeacherTable] | None = None
    teacher_rules: dict[str, str] | None = None
    teacher_weights: dict[str, float] | None = None
    teacher_chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    teacher_server: dict[str, Any] = Field(default_factory=dict)
    teacher_cache: str | None = None
    teacher_cache_mib: int = Field(default=1024, gt=0)
    teacher_batch_tokens: int = Field(default=8192, gt=0)
    objective: str = "dpca"
    objective_options: dict[str, Any] = Field(default_factory=dict)
    stop_unit: bool = True
    text_tokens: tuple[str, ...] = ()
    min_coverage: float | None = None
    low_coverage: str = "stop"
    validation: Literal["teacher_gap", "reward"] = "teacher_gap"

    @model_validator(mode="after")
    def _one_teacher_or_several(self) -> Self:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("the section crossdistill names one teacher (teacher) or several (teachers), not both.")
        if self.teachers and self.teacher_tokenizer:
            raise ValueError("with several teachers, teachers.NAME.tokenizer takes the place of teacher_tokenizer.")
        return self

    @property
    def named_teachers(self) -> dict[str, TeacherTable]:
        """All teachers by name; a single one has the name "teacher"."""
        return self.teachers or {"teacher": TeacherTable(model=self.teacher or "", tokenizer=self.teacher_tokenizer)}

    @property
    def routing(self) -> Routing:
        """Which teacher scores what."""
        return Routing(tuple(self.named_teachers), self.teacher_rules, self.teacher_weights)

    def of_teacher(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """One teacher's entry of a table that is by name if there are several teachers."""
        return dict(table) if len(self.named_teachers) == 1 else dict(table.get(name) or {})

    def make_objective(self) -> Objective:
        """The objective.

        Raises:
            InputError: an unknown one, or one that verl cannot compute.
        """
        return policy_objective(self.objective, self.objective_options)


def policy_objective(name: str, options: Mapping[str, Any]) -> Objective:
    """An objective whose loss is the clipped policy loss, which verl has.

    Args:
        name: of the objective, or an import path.
        options: of the objective; the clips are verl's settings and not among them.

    Raises:
        InputError: an unknown objective or option, or one that verl cannot compute.

    Example:
        >>> policy_objective("dpca", {"credit": "uniform"}).signal.value
        'sampled'
    """
    if name == AUTO:
        raise InputError(f"objective {AUTO!r} is chosen by a trainer of ours: in verl name one, such as dpca.")
    for option, key in CLIPS.items():
        if option in options:
            raise InputError(f"{option} is a setting of verl's own loss: set actor_rollout_ref.actor.{key}.")
    objective = get(name, **options)
    if not isinstance(objective, DPCA):
        raise InputError(
            f"objective {objective.name!r} has a loss of its own, and verl's is the clipped policy loss, which sees "
            "only log-probabilities of sampled tokens: take dpca, with any credit, or train with `crossdistill train`."
        )
    return objective


def parse(section: Mapping[str, Any]) -> VerlOptions:
    """The options in a section of verl's configuration.

    Args:
        section: plain values.

    Raises:
        InputError: what is missing, unknown or without a meaning; all of them are named at once.

    Example:
        >>> parse({"teacher": "org/teacher"}).objective
        'dpca'
    """
    options = validated(VerlOptions, dict(section))
    check_settings(options.min_coverage, options.low_coverage)
    options.routing.check((), options.make_objective())
    return options
