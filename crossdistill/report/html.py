"""A run, or an alignment alone, as one HTML file that loads nothing else and runs no script."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import crossdistill
from crossdistill.report import numbers
from crossdistill.report.charts import learning_curves
from crossdistill.report.results import metric_range, metric_rows, position
from crossdistill.report.run_file import write_text
from crossdistill.report.view import ChunkView, SampleView

_TEMPLATES = Path(__file__).parent / "templates"
# a browser grows slow beyond this; a response of 16,384 tokens has more
MAX_CHUNKS = 3000
_NUM_STRONGEST = 6


@dataclass(frozen=True)
class NumberedChunk:
    """A chunk and its number in its sample, from 1: with the sample's, its anchor in the page."""

    number: int
    chunk: ChunkView


@dataclass(frozen=True)
class ShownSample:
    """What the page shows of a sample."""

    view: SampleView
    chunks: list[NumberedChunk]
    num_left_out: int
    strongest: list[NumberedChunk]
    has_scores: bool


def write_report(
    path: str | Path, run: dict[str, Any], history: Sequence[dict[str, Any]], samples: Sequence[SampleView]
) -> None:
    """Write the report of a run as one self-contained file; it appears complete or not at all.

    Args:
        run: the content of ``run.json``; whatever it lacks is left out of the page.
        history: rows of the trainer's log, such as ``trainer.state.log_history``.
        samples: responses to show aligned; of a very long one the first chunks.
    """
    page = _environment().get_template("report.html.j2")
    coverage = run.get("coverage") or {}
    rows = metric_rows(run.get("metrics") or {})
    context = {
        "run": run,
        "metrics": rows,
        "metric_range": metric_range(rows),
        "coverage": coverage,
        "dropped": sorted((coverage.get("dropped") or {}).items(), key=lambda item: -item[1]),
        "dropped_tokens": coverage.get("dropped_tokens") or {},
        "costs": _cost_rows(run),
        "charts": learning_curves(history),
        "samples": [_shown(sample) for sample in samples],
        "config": json.dumps(run.get("config") or {}, indent=2, ensure_ascii=False, default=str),
    }
    write_text(path, page.render(context))


def write_alignment_page(path: str | Path, samples: Sequence[SampleView]) -> None:
    """Write the alignment view alone, as one self-contained file."""
    page = _environment().get_template("alignment.html.j2")
    write_text(path, page.render(samples=[_shown(sample) for sample in samples]))


def _cost_rows(run: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, tokens and FLOPs of each part that has either."""
    tokens, flops = run.get("tokens") or {}, run.get("flops") or {}
    return [(part, tokens.get(part), flops.get(part)) for part in {**tokens, **flops}]


def _shown(view: SampleView) -> ShownSample:
    numbered = [NumberedChunk(number, chunk) for number, chunk in enumerate(view.chunks, 1)]
    shown = numbered[:MAX_CHUNKS]
    return ShownSample(
        view=view,
        chunks=shown,
        num_left_out=len(numbered) - len(shown),
        strongest=_strongest(shown),
        has_scores=any(token.logprob is not None for chunk in view.chunks for token in chunk.student),
    )


def _strongest(numbered: Iterable[NumberedChunk]) -> list[NumberedChunk]:
    """The chunks on which student and teacher disagree most, the largest disagreement first."""
    scored = [entry for entry in numbered if entry.chunk.log_ratio]
    return sorted(scored, key=lambda entry: -abs(entry.chunk.log_ratio or 0.0))[:_NUM_STRONGEST]


def model_name(model: str) -> str:
    """A hub id as it is, of a local folder's path the last part."""
    return Path(model).name if Path(model).is_absolute() or model.startswith(".") else model


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        numbers.nats,
        numbers.signed,
        numbers.score,
        numbers.count,
        numbers.percent,
        numbers.si,
        numbers.duration,
        numbers.tint,
        position,
        model_name,
    ):
        environment.filters[function.__name__] = function
    environment.globals["version"] = crossdistill.__version__
    return environment
