"""The arena's file: methods, pairs, tasks, seeds and rates, as one TOML file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from crossdistill.arena.fitting import check_fit, check_name
from crossdistill.arena.tables import (
    CONTROLS,
    ArenaTable,
    ClaimTable,
    Control,
    MethodTable,
    PairTable,
    TaskTable,
    TeacherWritesTable,
)
from crossdistill.keys.table import Table
from crossdistill.runs.config import read_config
from crossdistill.runs.keys import LORA, SFT_TRAIN, TRAIN

_TABLES = "crossdistill.arena.tables"
ARENA_FILE = (
    Table("", __name__, "ArenaFile"),
    Table("tasks.NAME", _TABLES, "TaskTable"),
    Table("pairs.NAME", _TABLES, "PairTable"),
    Table("methods.NAME", _TABLES, "MethodTable"),
    Table("[claims]", _TABLES, "ClaimTable"),
    Table("teacher_writes", _TABLES, "TeacherWritesTable"),
    TRAIN,
    LORA,
)
"""Tables of the file of ``crossdistill arena``."""


class ArenaFile(ArenaTable):
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
    teacher_writes: TeacherWritesTable | None = Field(
        default=None, description="How the teacher writes for seqkd: [teacher_writes]."
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

    @field_validator("controls")
    @classmethod
    def _distinct_controls(cls, value: list[Control]) -> list[Control]:
        if len(set(value)) < len(value):
            raise ValueError(f"controls has one twice, {value}: give each once.")
        return value

    @field_validator("methods", "pairs", "tasks")
    @classmethod
    def _names_of_folders(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            check_name(name)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "ArenaFile":
        check_fit(self)
        return self

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
            _find(path.parent, teacher, "model", "tokenizer")
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
