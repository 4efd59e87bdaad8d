"""The settings of the recipe: ``settings.toml``, and files that override single keys of it."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossdistill.errors import InputError

FOLDER = Path(__file__).parent
SETTINGS = FOLDER / "settings.toml"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pair(_Table):
    """A teacher and a student: SFT begins at `base`, or has been done and left `start`."""

    title: str
    teacher: str
    base: str | None = None
    start: str | None = None
    served: str = ""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.base is None) == (self.start is None):
            raise ValueError("name either base, where SFT begins, or start, a model after SFT")
        return self


class Data(_Table):
    """The data sets: hub ids, folders or files of the same form."""

    open_thoughts: str
    deep_math: str
    seed: int


class Sizes(_Table):
    """How much there is of everything."""

    sft_examples: int = Field(gt=0)
    prompts: int = Field(gt=0)
    samples: int = Field(gt=0)
    batch: int = Field(gt=0)
    longest_prompt: int = Field(gt=0)
    longest_example: int = Field(gt=0)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.samples > 2 * self.prompts:
            raise ValueError(f"samples = {self.samples} is more than two data sets of prompts = {self.prompts} have")
        if min(self.samples, self.sft_examples) < 2 * self.batch:
            raise ValueError(f"samples and sft_examples must have two steps of batch = {self.batch} at least")
        return self


class Hardware(_Table):
    """GPUs of a training, and how commands are started."""

    processes: int = Field(gt=0)
    rows: int = Field(gt=0)
    launch: list[str]
    crossdistill: list[str]
    verl: list[str]


class Evaluation(_Table):
    """What each model is evaluated on."""

    preset: str
    tasks: list[str] = Field(min_length=1)
    figure: str
    options: list[str]
    serve: list[str]
    url: str
    sources: dict[str, str]

    @model_validator(mode="after")
    def _figure_is_a_task(self) -> Self:
        if self.figure not in self.tasks:
            raise ValueError(f"figure = {self.figure!r} is none of tasks: its models would not be evaluated on it")
        return self


class CostAssumptions(_Table):
    """What the forecast of the costs assumes."""

    tokens: int
    prompt_tokens: int
    eval_samples: int
    flops_per_second: float
    training: float
    reading: float
    sampling: float
    serving: float


class Settings(_Table):
    """All of ``settings.toml``."""

    output: Path
    seeds: list[int] = Field(min_length=1)
    pairs: dict[str, Pair]
    data: Data
    sizes: Sizes
    hardware: Hardware
    eval: Evaluation
    set: dict[str, list[str]]
    cost: CostAssumptions

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        at_once = self.hardware.processes * self.hardware.rows
        if self.sizes.batch % at_once:
            raise ValueError(f"sizes.batch = {self.sizes.batch} is no multiple of the {at_once} rows of all processes")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed is repeated in seeds = {self.seeds}")
        return self


def read_settings(overrides: Sequence[Path] = ()) -> Settings:
    """The settings of the recipe.

    Args:
        overrides: files with some of the keys, later ones before earlier ones.

    Raises:
        InputError: a file is missing or no TOML, or the settings cannot be.
    """
    values: dict[str, Any] = {}
    for path in (SETTINGS, *overrides):
        values = _merged(values, _read(path))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        found = ("{}: {}".format(".".join(map(str, one["loc"])) or "settings", one["msg"]) for one in error.errors())
        raise InputError(f"these settings cannot be used: {'; '.join(found)}.") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the settings {path} cannot be read ({error.strerror}): give a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML ({error}): repair it.") from None


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables key by key; everything else is replaced."""
    tables = {
        key: _merged(values[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
    }
    return {**values, **over, **tables}
