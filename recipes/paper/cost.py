"""What the cells cost: FLOPs of their models' configurations, and GPU hours under the assumptions of the settings."""

from collections.abc import Iterator
from dataclasses import dataclass

from crossdistill.flops import ModelFlops
from crossdistill.report.cost.tables import TextTable, flops
from crossdistill.runs.forecast import without_weights
from recipes.paper.cells import METHODS, SFT, cells
from recipes.paper.settings import CostAssumptions, Pair, Settings


@dataclass(frozen=True)
class Work:
    """FLOPs, and the share of a GPU's speed that they reach."""

    flops: int
    speed: float


@dataclass(frozen=True)
class Forecast:
    """What one cell costs.

    Attributes:
        name: of the cell.
        training, evaluation: FLOPs.
        gpu_hours: of the student's GPUs; a served teacher has its own.
        teacher_hours: GPU hours of the teacher, beside them or on them.
    """

    name: str
    training: int
    evaluation: int
    gpu_hours: float
    teacher_hours: float


def forecasts(settings: Settings) -> list[Forecast]:
    """The costs of the cells of the paper's tables.

    Raises:
        InputError: a model's configuration cannot be read.
    """
    models: dict[str, ModelFlops] = {}
    found = []
    for cell in cells(settings):
        pair = settings.pairs[cell.pair]
        for side, name in (("student", pair.base or pair.start or ""), ("teacher", pair.teacher)):
            if name not in models:
                models[name] = ModelFlops.of(without_weights(side, name))
        student, teacher = models[pair.base or pair.start or ""], models[pair.teacher]
        found.append(_forecast(cell.name, cell.method, settings, pair, student, teacher))
    return found


def _forecast(
    name: str, method: str, settings: Settings, pair: Pair, student: ModelFlops, teacher: ModelFlops
) -> Forecast:
    assumed = settings.cost
    count = 0 if method == SFT and pair.base is None else settings.sizes.samples
    rows = settings.sizes.sft_examples if method == SFT and pair.base else count
    length = assumed.tokens + assumed.prompt_tokens
    own = [Work(rows * student.step([length]), assumed.training)]
    own += [Work(rows * student.forward([length]), assumed.sampling)] if method == "opd" else []
    read = [Work(rows * teacher.forward([length]), assumed.reading)] if METHODS[method].command != "sft" else []
    evaluated = Work(assumed.eval_samples * student.forward([length]), assumed.serving)
    return Forecast(
        name,
        sum(work.flops for work in (*own, *read)),
        evaluated.flops,
        _hours([*own, evaluated], assumed),
        _hours(read, assumed),
    )


def _hours(works: list[Work], assumed: CostAssumptions) -> float:
    return sum(work.flops / work.speed for work in works) / assumed.flops_per_second / 3600


def lines(settings: Settings) -> Iterator[str]:
    """The costs as a table of Markdown, with what is assumed."""
    found = forecasts(settings)
    rows = [
        (one.name, flops(one.training), flops(one.evaluation), f"{one.gpu_hours:,.0f}", f"{one.teacher_hours:,.0f}")
        for one in found
    ]
    total = [sum(getattr(one, name) for one in found) for name in ("training", "evaluation")]
    hours = [f"{sum(getattr(one, name) for one in found):,.0f}" for name in ("gpu_hours", "teacher_hours")]
    header = ("cell", "FLOPs of training", "FLOPs of evaluation", "GPU hours, student", "GPU hours, teacher")
    yield TextTable("", header, (*rows, ("all", *map(flops, total), *hours))).markdown
    assumed = settings.cost
    yield (
        f"\nAssumed: responses of {assumed.tokens:,} tokens after prompts of {assumed.prompt_tokens:,}, GPUs of "
        f"{assumed.flops_per_second:.3g} FLOP/s, of which a step reaches {assumed.training:.1%}, the teacher's reading "
        f"{assumed.reading:.1%}, rollouts {assumed.sampling:.1%} and a server in evaluation {assumed.serving:.1%}."
    )
