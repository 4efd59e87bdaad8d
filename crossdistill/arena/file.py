"""The arena's file: methods, pairs, tasks, seeds and rates, as one TOML file."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from crossdistill.keys.table import Table
from crossdistill.runs.config import read_config
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.keys import LORA, SFT_TRAIN, TRAIN
from crossdistill.runs.tables import File

Control = Literal["sft", "seqkd", "same_tokenizer"]
CONTROLS: tuple[Control, ...] = ("sft", "seqkd", "same_tokenizer")
"""Rows beside the methods: SFT continued on the given examples, SFT on the teacher's responses to the same prompts
(SeqKD), and on-policy distillation under a teacher with the student's own tokenizer."""
_SEPARATORS = "/\\"
_SET_BY_CELLS = {"learning_rate": "rates", "seed": "seeds and tuning_seed"}
"""Keys of [train] that differ between the runs of one method -> the keys of the file that set them."""


ARENA_FILE = (
    Table("", __name__, "ArenaFile"),
    Table("tasks.NAME", __name__, "TaskTable"),
    Table("pairs.NAME", __name__, "PairTable"),
    Table("methods.NAME", __name__, "MethodTable"),
    Table("[claims]", __name__, "ClaimTable"),
    TRAIN,
    LORA,
)
"""Tables of the file of ``crossdistill arena``."""


class TaskTable(File):
    """A task: a table ``[tasks.NAME]``."""

    prompts: str = Field(description="Training prompts: a file, a saved data set's folder or a hub id.")
    examples: str | None = Field(
        default=None,
        description="Worked examples (`prompt`, `completion`) for the control sft; without them it is "
        "shown as not run.",
    )
    validation: EvalTaskTable = Field(
        description="Problems on which rates are tuned and curves are drawn: the keys of [eval_tasks.NAME]."
    )
    test: EvalTaskTable = Field(description="Problems that each trained student answers once: likewise.")
    unrelated: str | None = Field(
        default=None, description="A text file of another kind: bits per byte before and after tell what is forgotten."
    )


class PairTable(File):
    """A student and a teacher on a task: a table ``[pairs.NAME]``."""

    task: str = Field(description="Name of one of [tasks].")
    student: str = Field(description="Student: a folder or a hub id. All methods start from it.")
    teacher: str = Field(description="Teacher: a folder, a hub id or the URL of a server.")
    teacher_tokenizer: str | None = Field(default=None, description="The teacher's tokenizer, for a URL.")
    same_tokenizer_teacher: str | None = Field(
        default=None, description="Teacher with the student's own tokenizer, for the control same_tokenizer."
    )
    train: dict[str, Any] = Field(default_factory=dict, description="Keys of [train] that differ for this pair.")


class MethodTable(File):
    """A method: a table ``[methods.NAME]``, empty if the name is an objective's."""

    objective: str | None = Field(default=None, description="Its objective, if the table has another name.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the objective.")
    train: dict[str, Any] = Field(default_factory=dict, description="Keys of [train] that the method needs.")
    teachers: dict[str, dict[str, Any]] | None = Field(
        default=None, description="Tables [teachers.NAME] beside the pair's teacher, such as reference."
    )
    pairs: list[str] | None = Field(default=None, description="The pairs that it is run on; all if left out.")


class ClaimTable(File):
    """Something that is said of two methods, to be answered on every pair that has both: a table ``[[claims]]``."""

    claim: str = Field(description="In a few words, such as: on-policy distillation is better than SFT.")
    better: str = Field(description="The method or control that is said to be better.")
    worse: str = Field(description="The one that is said to be worse.")
    source: str | None = Field(default=None, description="Who says so, with its figures.")


class ArenaFile(File):
    """The file of ``crossdistill arena``; each field's description is its documentation.

    Example:
        >>> ArenaFile.model_fields["rates"].description
        'Learning rates that each method is tuned over.'
    """

    tables: ClassVar = ARENA_FILE
    settings: ClassVar = {"lora": LORA}

    seeds: list[int] = Field(min_length=1, description="Seeds of the runs that are compared.")
    tuning_seed: int = Field(description="Seed of the runs that the rates are chosen by; none of the others.")
    rates: list[float] = Field(min_length=1, description="Learning rates that each method is tuned over.")
    reference: str = Field(description="Method whose range over the seeds is the noise floor of a verdict.")
    reach: float | None = Field(
        default=None, gt=0, lt=1, description="Accuracy on validation problems whose cost is shown."
    )
    controls: list[Control] = Field(default=list(CONTROLS), description="Rows beside the methods.")
    methods: dict[str, MethodTable] = Field(min_length=1, description="What is compared: [methods.NAME].")
    tasks: dict[str, TaskTable] = Field(min_length=1, description="[tasks.NAME].")
    pairs: dict[str, PairTable] = Field(min_length=1, description="[pairs.NAME].")
    claims: list[ClaimTable] = Field(
        default_factory=list,
        description="Comparisons that are asked before the runs: their p-values are corrected for each other alone.",
    )
    eval_every: int | None = Field(default=None, ge=1, description="Steps from one point of a curve to the next.")
    train: dict[str, Any] = Field(
        default_factory=dict, description="Settings of all runs: fields of CrossTokenizerConfig. max_steps is needed."
    )
    lora: dict[str, Any] | None = Field(
        default=None,
        description="Train a LoRA adapter in every run, those of the controls too: any field of peft.LoraConfig.",
    )
    sft: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the SFT controls that differ: fields of trl.SFTConfig."
    )
    teacher_writes: dict[str, Any] = Field(
        default_factory=dict, description="How the teacher writes for seqkd: max_new_tokens, temperature, batch_size."
    )

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"seeds has one twice, {value}: give each once, or the interval claims too much.")
        return value

    @field_validator("seeds", "tuning_seed")
    @classmethod
    def _seeds_of_generators(cls, value: list[int] | int) -> list[int] | int:
        for seed in value if isinstance(value, list) else [value]:
            if not 0 <= seed < 2**32:
                raise ValueError(f"a seed is from 0 to 2**32 - 1, not {seed}.")
        return value

    @field_validator("rates")
    @classmethod
    def _distinct_rates(cls, value: list[float]) -> list[float]:
        if len(set(value)) < len(value) or not all(0 < rate < math.inf for rate in value):
            raise ValueError(f"rates are distinct and above 0, not {value}.")
        if len({f"{rate:g}" for rate in value}) < len(value):
            raise ValueError(f"rates have at most 6 digits, by which they are told apart in names, not {value}.")
        return sorted(value)

    @field_validator("methods", "pairs", "tasks")
    @classmethod
    def _names_of_folders(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not name or name.startswith(".") or any(separator in name for separator in _SEPARATORS):
                raise ValueError(f"the name {name!r} is no folder's: use letters, digits, - and _.")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "ArenaFile":
        if self.tuning_seed in self.seeds:
            raise ValueError(
                f"tuning_seed = {self.tuning_seed} is one of the seeds: a method would be shown by the run that its "
                "rate was chosen by; take another."
            )
        if self.reference not in self.methods:
            raise ValueError(f"reference names {self.reference!r}, which is not one of {', '.join(self.methods)}.")
        taken = [name for name in self.methods if name in (*CONTROLS, "start", "teacher")]
        if taken:
            raise ValueError(f"the method {taken[0]!r} has the name of a control or model: call it otherwise.")
        for name, pair in self.pairs.items():
            if pair.task not in self.tasks:
                raise ValueError(f"the pair {name!r} is on the task {pair.task!r}: write a table [tasks.{pair.task}].")
        for name, method in self.methods.items():
            unknown = [pair for pair in method.pairs or () if pair not in self.pairs]
            if unknown:
                raise ValueError(f"[methods.{name}] pairs names {unknown[0]!r}, which is not one of [pairs].")
        if self.methods[self.reference].pairs is not None:
            raise ValueError(f"the reference {self.reference!r} must be run on all pairs: leave out its pairs.")
        for claim in self.claims:
            for side in (claim.better, claim.worse):
                if side not in (*self.methods, *CONTROLS):
                    raise ValueError(f"the claim {claim.claim!r} names {side!r}, which is no method and no control.")
        return self

    @model_validator(mode="after")
    def _same_budget(self) -> "ArenaFile":
        for table, train in self._tables_of_settings():
            for key in _SET_BY_CELLS.keys() & train.keys():
                raise ValueError(f"[{table}] {key} is set by {_SET_BY_CELLS[key]}, for all alike: leave it out.")
        if int(self.train.get("max_steps", -1)) < 1:
            raise ValueError("[train] max_steps is missing: every method makes the same number of steps.")
        return self

    def _tables_of_settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from {"train": self.train, "sft": self.sft}.items()
        yield from ((f"pairs.{name}.train", pair.train) for name, pair in self.pairs.items())
        yield from ((f"methods.{name}.train", method.train) for name, method in self.methods.items())

    def task_of(self, pair: str) -> TaskTable:
        """The task of a pair."""
        return self.tasks[self.pairs[pair].task]

    def sft_settings(self, pair: str) -> dict[str, Any]:
        """The settings of the SFT controls: those of all runs that SFT knows, and its own."""
        known = SFT_TRAIN.names
        shared = {**self.train, **self.pairs[pair].train}
        return {**{key: value for key, value in shared.items() if key in known}, **self.sft}


def read_arena(path: Path, overrides: Sequence[str] = ()) -> ArenaFile:
    """Read an arena's file.

    Args:
        path: of the file. What it names relative to its own folder is found there.
        overrides: ``key=value``, with dots in keys of tables.

    Raises:
        InputError: a missing or malformed file, unknown or missing keys, or values that do not fit together.
    """
    arena = read_config(ArenaFile, path, overrides, {})
    for table in (*arena.tasks.values(), *arena.pairs.values()):
        _find(path.parent, table, "prompts", "examples", "unrelated", "student", "teacher", "teacher_tokenizer")
        _find(path.parent, table, "same_tokenizer_teacher")
    for task in arena.tasks.values():
        for problems in (task.validation, task.test):
            _find(path.parent, problems, "source")
    for method in arena.methods.values():
        for teacher in (method.teachers or {}).values():
            teacher |= {key: _found(path.parent, name) for key, name in teacher.items() if isinstance(name, str)}
    return arena


def _find(folder: Path, table: BaseModel, *keys: str) -> None:
    """Look up the paths of a table beside the file; keys that it does not have are passed over."""
    for key in keys:
        value = getattr(table, key, None)
        if value is not None:
            setattr(table, key, _found(folder, value))


def _found(folder: Path, name: str) -> str:
    """A path relative to the file's folder if there is one; a hub id, a URL or another path as it is."""
    beside = folder / name
    return str(beside) if beside.exists() else name
