"""The tables of a model card, from what is known of a run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.inspection.model_name import is_url
from crossdistill.report.card.origin import licence_of
from crossdistill.report.format import MISSING, count, duration, percent, score, si
from crossdistill.report.results import metric_rows

SERVER = "a model behind a server"
_ACCURACY = "accuracy on {task} after {step} steps ({n} problems)"

Record = Mapping[str, Any]
"""The content of ``run.json``, or the part of it that is known. Besides:

- ``teachers``: name -> folder, hub id or URL; ``dataset``; ``settings``: of the training; ``lora``: of the adapter;
- ``step`` and ``max_steps``: of how many it is the state; ``command``: that started the run.
"""


@dataclass(frozen=True)
class CardTable:
    """A table with a heading.

    Attributes:
        title: above the table.
        head: names of the columns.
        rows: cells as Markdown.
    """

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(record: Record) -> list[CardTable]:
    """The tables of a card; those without rows are left out."""
    found = [
        CardTable("Training", ("", ""), list(_training(record))),
        CardTable("Results", ("", "value", "95 % interval"), [*_gap(record), *_accuracy(record)]),
        CardTable("Coverage", ("", "bytes", "tokens"), list(_coverage(record))),
        CardTable("Cost", ("part", "tokens", "FLOP"), list(_cost(record))),
        CardTable("Licences", ("model", "licence"), list(_licences(record))),
        CardTable("Versions", ("", ""), list((record.get("versions") or {}).items())),
    ]
    return [table for table in found if table.rows]


def named(model: str) -> str:
    """A model in a card: never the address of a server, nor the path of a folder beyond its end."""
    if is_url(model):
        return SERVER
    return f"`{short(model)}` (a folder)" if Path(model).exists() else f"`{short(model)}`"


def short(model: str) -> str:
    """A hub id, or the end of a path; that of a run's model has the run's name in it.

    Example:
        >>> short("org/model"), short("/models/student"), short("/runs/sft/model")
        ('org/model', 'student', 'sft/model')
    """
    path = Path(model)
    is_path = path.is_absolute() or model.startswith(".") or path.exists()
    return "/".join(path.parts[-2:] if path.name == "model" else path.parts[-1:]) if is_path else model


def _training(record: Record) -> Iterator[tuple[str, str]]:
    yield "base model", named(record["student"])
    for name, model in (record.get("teachers") or {}).items():
        yield name if name == "teacher" else f"teacher `{name}`", named(model)
    if record.get("objective"):
        yield "objective", _objective(record)
    if record.get("reward"):
        yield "reward beside the teacher", _options(record["reward"])
    if record.get("dataset"):
        yield "data", f"`{short(record['dataset'])}`, {count(record.get('data_points'))} rows trained on"
    if record.get("step") is not None:
        yield "steps", count(record["step"])
    for name, value in (record.get("settings") or {}).items():
        yield f"`{name}`", _value(value)
    if record.get("lora"):
        yield "adapter", _options(record["lora"])
    if record.get("seed") is not None:
        yield "seed", str(record["seed"])


def _objective(record: Record) -> str:
    options = record.get("objective_options")
    reason = record.get("objective_reason")
    return (
        f"`{record['objective']}`" + (f" ({_options(options)})" if options else "") + (f"; {reason}" if reason else "")
    )


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` = {_value(value)}" for name, value in options.items())


def _value(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}`"


def _gap(record: Record) -> Iterator[tuple[str, str, str]]:
    for row in metric_rows(record.get("metrics") or {}):
        yield f"{record.get('metric', 'metric')}: {row.name}", score(row.mean), _interval(row.ci, score)


def _accuracy(record: Record) -> Iterator[tuple[str, str, str]]:
    """The first and the last evaluation on each task."""
    for task, points in (record.get("accuracy") or {}).items():
        for point in {one["step"]: one for one in (points[0], points[-1])}.values():
            name = _ACCURACY.format(task=f"`{task}`", step=point["step"], n=count(point.get("n")))
            yield name, percent(point["mean"]), _interval(point.get("ci"), percent)


def _interval(ci: Any, shown: Any) -> str:
    return MISSING if not ci or None in ci else f"{shown(ci[0])} to {shown(ci[1])}"


def _coverage(record: Record) -> Iterator[tuple[str, str, str]]:
    coverage = record.get("coverage") or {}
    if coverage.get("sampled_bytes"):
        share = percent(coverage["supervised_bytes"] / coverage["sampled_bytes"])
        yield "sampled by the student", count(coverage["sampled_bytes"]), count(coverage["sampled_tokens"])
        supervised = f"{count(coverage['supervised_bytes'])} ({share})"
        yield "of these under the teacher's signal", supervised, count(coverage["supervised_tokens"])
    for reason, dropped in (coverage.get("dropped") or {}).items():
        yield f"left out: `{reason}`", count(dropped), count((coverage.get("dropped_tokens") or {}).get(reason))


def _cost(record: Record) -> Iterator[tuple[str, str, str]]:
    tokens, flops = record.get("tokens") or {}, record.get("flops") or {}
    for part in {**tokens, **flops}:
        yield str(part).replace("_", " "), count(tokens.get(part)), si(flops.get(part))
    if record.get("seconds") is not None:
        yield f"time: {duration(record['seconds'])}", "", ""


def _licences(record: Record) -> Iterator[tuple[str, str]]:
    models = [record["student"], *(record.get("teachers") or {}).values()]
    for model in dict.fromkeys(models):
        yield named(model), "not stated" if is_url(model) else licence_of(model).text
