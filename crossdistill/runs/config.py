"""Run files: the configuration of a run as one TOML file, validated completely before anything is loaded."""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from crossdistill.distill.names import ONE_TEACHER, REFERENCE
from crossdistill.errors import InputError
from crossdistill.keys.hint import hint
from crossdistill.runs.eval_tasks import EvalTaskTables
from crossdistill.runs.keys import LORA, RUN_FILE, SFT_FILE, SFT_TRAIN, TRAIN
from crossdistill.runs.tables import File

T = TypeVar("T", bound=BaseModel)
K = TypeVar("K")


class TeacherTable(File):
    """One of several teachers, or the reference: a table ``[teachers.NAME]``."""

    model: str = Field(description="A folder, a hub id or the URL of a server.")
    tokenizer: str | None = Field(default=None, description="Its tokenizer, for a URL: a folder or a hub id.")


_EVAL_TASKS: Any = Field(
    default=None,
    description="Held-out problems to measure the student's accuracy on during training: a list of names of tasks "
    "and files, or tables [eval_tasks.NAME].",
)
_EVAL_EVERY: Any = Field(
    default=None,
    ge=1,
    description="Steps from one evaluation on eval_tasks to the next; eval_steps if that is set, else a tenth of "
    "the run.",
)


_MESSAGES_COLUMN: Any = Field(
    default=None,
    description="Column with whole conversations, if it is not `messages` or there is a `prompt` beside it.",
)


class RunConfig(File):
    """The run file of ``crossdistill train``; each field's description is its documentation.

    Example:
        >>> RunConfig(student="a", teacher="b", dataset="prompts.jsonl", train={"max_steps": 5}).dataset_split
        'train'
    """

    tables: ClassVar = RUN_FILE
    settings: ClassVar = {"train": TRAIN, "lora": LORA}

    student: str = Field(description="Student: a folder or a hub id.")
    teacher: str | None = Field(default=None, description="Teacher: a folder, a hub id or the URL of a server.")
    teacher_tokenizer: str | None = Field(
        default=None, description="The teacher's tokenizer, for a URL: a folder or a hub id."
    )
    teachers: dict[str, TeacherTable] | None = Field(
        default=None,
        validate_default=True,
        description="Several teachers in place of one: [teachers.NAME] with model and tokenizer. "
        "[teachers.reference], beside one or several, is a weaker model of the teacher's family that is subtracted.",
    )
    dataset: str = Field(
        description="Prompts: a .jsonl/.json/.csv/.parquet file, a saved data set's folder or a hub id."
    )
    dataset_name: str | None = Field(default=None, description="Configuration name of a hub data set.")
    dataset_split: str = Field(default="train", description="Split of a hub data set.")
    eval_dataset: str | None = Field(
        default=None, description="Held-out prompts, for the teacher gap before, during and after training."
    )
    eval_split: str = Field(default="test", description="Split of a hub data set for evaluation.")
    eval_rows: int | None = Field(default=None, ge=1, description="Use only this many of the held-out prompts.")
    eval_tasks: EvalTaskTables = _EVAL_TASKS
    eval_every: int | None = _EVAL_EVERY
    prompt_column: str = Field(default="prompt", description="Column with the prompts: texts or lists of messages.")
    completion_column: str = Field(
        default="completion", description="Column with given responses (texts), used if on_policy_share is below 1."
    )
    messages_column: str | None = _MESSAGES_COLUMN
    answer_column: str | None = Field(
        default=None, description="Column with the right answers, if train.reward grades by one that is not `answer`."
    )
    preset: str | None = Field(
        default=None, description='Named settings that all other keys override; "paper" for those of the paper.'
    )
    objective: str | None = Field(
        default=None,
        description='Name of the objective ("dpca" unless the preset names another), the import path of your own '
        '(my_package.my_file:MyObjective), or "auto" for one that suits the pair.',
    )
    objective_options: dict[str, Any] = Field(default_factory=dict, description="Options of the objective.")
    train: dict[str, Any] = Field(default_factory=dict, description="Any field of CrossTokenizerConfig.")
    lora: dict[str, Any] | None = Field(default=None, description="Train a LoRA adapter: any field of peft.LoraConfig.")

    @field_validator("teachers")
    @classmethod
    def _one_teacher_or_several(
        cls, value: dict[str, TeacherTable] | None, info: ValidationInfo
    ) -> dict[str, TeacherTable] | None:
        others = (value or {}).keys() - {REFERENCE}
        if not others and info.data.get("teacher") is None:
            raise ValueError(f"'teacher' is missing: {cls.model_fields['teacher'].description}")
        if others and (info.data.get("teacher") or info.data.get("teacher_tokenizer")):
            raise ValueError("name one teacher (teacher, teacher_tokenizer) or several ([teachers.NAME]), not both.")
        return value

    @property
    def named_teachers(self) -> dict[str, TeacherTable]:
        """All teachers by name; a single one has the name "teacher", and the reference comes last."""
        one = {} if self.teacher is None else {ONE_TEACHER: self._one_teacher}
        return one | dict(sorted((self.teachers or {}).items(), key=lambda item: item[0] == REFERENCE))

    @property
    def _one_teacher(self) -> TeacherTable:
        return TeacherTable(model=self.teacher or "", tokenizer=self.teacher_tokenizer)

    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments of CrossTokenizerConfig: those of the preset, overridden by the file's.

        Raises:
            InputError: there is no such preset.
        """
        from crossdistill.train.config import PRESETS

        if self.preset is not None and self.preset not in PRESETS:
            raise InputError(f"there is no preset {self.preset!r}; choose one of {', '.join(PRESETS)}.")
        preset = dict(PRESETS[self.preset]) if self.preset else {}
        preset_objective, preset_options = preset.pop("objective", "dpca"), preset.pop("objective_options", {})
        objective = self.objective or preset_objective
        options = {**(preset_options if objective == preset_objective else {}), **self.objective_options}
        return {**preset, "objective": objective, "objective_options": options, "report_to": "none", **self.train}


class SFTRunConfig(File):
    """The run file of ``crossdistill sft``; each field's description is its documentation.

    Example:
        >>> SFTRunConfig(student="a", dataset="rows.jsonl").completion_column
        'completion'
    """

    tables: ClassVar = SFT_FILE
    settings: ClassVar = {"train": SFT_TRAIN, "lora": LORA}

    student: str = Field(description="Student: a folder or a hub id.")
    dataset: str = Field(
        description="Rows with `prompt` and `completion`, `messages`, or `text`; with `teacher`, `prompt` is enough."
    )
    dataset_name: str | None = Field(default=None, description="Configuration name of a hub data set.")
    dataset_split: str = Field(default="train", description="Split of a hub data set.")
    eval_dataset: str | None = Field(
        default=None, description="Held-out rows with answers, for the loss before, during and after training."
    )
    eval_split: str = Field(default="test", description="Split of a hub data set for evaluation.")
    eval_rows: int | None = Field(default=None, ge=1, description="Use only this many of the held-out rows.")
    prompt_column: str = Field(default="prompt", description="Column with the prompts: texts or lists of messages.")
    completion_column: str = Field(
        default="completion", description="Column with the responses: texts or lists of messages."
    )
    messages_column: str | None = _MESSAGES_COLUMN
    text_column: str | None = Field(
        default=None, description="Column with whole texts, if it is not `text` or there is a `prompt` beside it."
    )
    teacher: str | None = Field(
        default=None, description="Teacher that writes the responses first: a folder or a hub id."
    )
    text_tokens: list[str] = Field(
        default_factory=list,
        description="Special tokens of student or teacher that are words of a response, such as <think>.",
    )
    max_new_tokens: int = Field(default=512, gt=0, description="Longest response that the teacher may write.")
    temperature: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Sampling temperature of the teacher; 0 is greedy."
    )
    batch_size: int = Field(default=16, gt=0, description="Responses that the teacher writes at once.")
    eval_tasks: EvalTaskTables = _EVAL_TASKS
    eval_every: int | None = _EVAL_EVERY
    train: dict[str, Any] = Field(default_factory=dict, description="Any field of trl.SFTConfig.")
    lora: dict[str, Any] | None = Field(default=None, description="Train a LoRA adapter: any field of peft.LoraConfig.")

    @property
    def columns(self) -> dict[str, str | None]:
        """Names of the columns of the data, by what they hold."""
        kinds = ("prompt", "completion", "messages", "text")
        return {kind: getattr(self, f"{kind}_column") for kind in kinds}


def read_config(kind: type[T], path: Path | None, overrides: Sequence[str], named: dict[str, Any]) -> T:
    """Read a configuration; later sources override earlier ones.

    Args:
        kind: of the configuration.
        path: a TOML file, or None.
        overrides: ``key=value``, with dots in keys of tables.
        named: key -> value; None does not override.

    Raises:
        InputError: a missing or malformed file, unknown or missing keys, or values of the wrong type; all of them are
            named at once.

    Example:
        >>> read_config(TeacherTable, None, ["tokenizer=org/model"], {"model": "http://host:8000"})
        TeacherTable(model='http://host:8000', tokenizer='org/model')
    """
    values: dict[str, Any] = _read_toml(path) if path else {}
    for override in overrides:
        set_value(values, override)
    values.update({key: value for key, value in named.items() if value is not None})
    return validated(kind, values)


def validated(kind: type[T], values: dict[str, Any]) -> T:
    """A configuration of these values.

    Raises:
        InputError: unknown or missing keys, or values of the wrong type; all of them are named at once.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_sentences(error, kind))) from None


def build(kind: Callable[..., K], table: str, arguments: dict[str, Any]) -> K:
    """The configuration object of a table.

    Args:
        kind: its class.
        table: name of the table, for messages.
        arguments: of the class.

    Raises:
        InputError: the class refuses the arguments.
    """
    try:
        return kind(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"[{table}] cannot be used: {' '.join(str(error).split())}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: give the path of a TOML run file.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: give the path of a TOML run file.") from None
    except OSError as error:
        raise InputError(f"the run file {path} cannot be read ({error.strerror}): give one that can.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML ({error}): repair it.") from None


def set_value(values: dict[str, Any], override: str) -> None:
    """Set a value of nested tables.

    Args:
        values: to change.
        override: ``key=value``, with dots in keys of tables; the value is TOML, and a bare word is a text.

    Raises:
        InputError: it is of another form, or goes into what is no table.

    Example:
        >>> values = {}
        >>> set_value(values, "train.seed=3")
        >>> values
        {'train': {'seed': 3}}
    """
    key, separator, text = override.partition("=")
    key = key.strip()
    if not separator or not key:
        raise InputError(f"the override {override!r} is not of the form key=value, such as train.learning_rate=1e-6.")
    *tables, name = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise InputError(f"the override {override!r} goes into {table!r}, which is not a table.")
    try:
        values[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text  # a bare word is a string


def _fields_at(kind: type[BaseModel], place: Sequence[str]) -> dict[str, Any]:
    """The fields of the table that a key is in, at any depth; `place` ends with the key."""
    for part in place[:-1]:
        field = kind.model_fields.get(part)
        kind = (_model_in(field.annotation) if field else None) or kind
    return kind.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in a type such as ``dict[str, Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _sentences(error: ValidationError, kind: type[BaseModel]) -> Iterator[str]:
    for item in error.errors():
        place = [str(part) for part in item["loc"]]  # empty if the fault is in several keys together
        known = _fields_at(kind, place)
        key, name = ".".join(place), place[-1] if place else ""
        if item["type"] == "extra_forbidden":
            yield f"unknown key {key!r}; {hint(name, known, _path(place), getattr(kind, 'tables', ()))}"
        elif item["type"] == "missing":
            yield f"{key!r} is missing: {known[name].description}"
        elif item["type"] == "value_error":
            yield str(item["ctx"]["error"])
        else:
            yield f"{key!r}: {item['msg'].lower()}, got {item['input']!r}"


def _path(place: Sequence[str]) -> str:
    """The table of a key, as lists of keys call it: "teachers.NAME" of teachers.math.model."""
    above = list(place[:-1])
    return ".".join([*above[:1], *(["NAME"] if len(above) > 1 else []), *above[2:]])
