"""A run, or an alignment alone, as one HTML file that loads nothing else; only the search of the latter is a script."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import crossdistill
from crossdistill.files import write_text
from crossdistill.report import format
from crossdistill.report.alignment.view import ChunkView, SampleView
from crossdistill.report.charts import learning_curves
from crossdistill.report.results import metric_range, metric_rows, position

_TEMPLATES = Path(__file__).parent / "templates"
# a browser grows slow beyond this
MAX_CHUNKS = 20_000
# what a browser lays out at once: it passes over blocks that are out of sight
_BLOCK = 150
_NUM_STRONGEST = 6
_BEGINNING = 72


@dataclass(frozen=True)
class NumberedChunk:
    """A chunk and its number in its sample, from 1: with the sample's, its anchor in the page."""

    number: int
    chunk: ChunkView

    @property
    def reads_as_tokens(self) -> bool:
        """Whether the student's tokens, put together, show the chunk's text; those that cut a character do not."""
        return "".join(token.text for token in self.chunk.student) == self.chunk.text


@dataclass(frozen=True)
class LargestChunk:
    """Its size in student and teacher tokens, and its number where the page shows it."""

    size: str
    number: int | None


@dataclass(frozen=True)
class ShownSample:
    """What the page shows of a sample."""

    view: SampleView
    blocks: list[list[NumberedChunk]]
    num_left_out: int
    largest: LargestChunk | None
    strongest: list[NumberedChunk]
    has_scores: bool

    @property
    def beginning(self) -> str:
        """The first words of the response."""
        text = "".join(chunk.text for chunk in self.view.chunks[:_BEGINNING])
        return text[:_BEGINNING] or "(nothing)"


def write_report(
    path: str | Path, run: dict[str, Any], history: Sequence[dict[str, Any]], samples: Sequence[SampleView]
) -> None:
    """Write the report of a run as one self-contained file; it appears complete or not at all.

    Args:
        run: the content of ``run.json``; whatever it lacks is left out of the page.
        history: rows of the trainer's log, such as ``trainer.state.log_history``.
        samples: responses to show aligned; of a very long one the first chunks.
    """
    page = environment().get_template("report.html.j2")
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


def write_alignment_page(path: str | Path, samples: Sequence[SampleView], note: str = "") -> None:
    """Write the alignment view alone, as one self-contained file that can be searched."""
    script = (_TEMPLATES / "search.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # nothing else may run in the page
    page = environment().get_template("alignment.html.j2")
    context = {"samples": [_shown(sample) for sample in samples], "note": note}
    write_text(path, page.render(context, script=script, script_hash=f"sha256-{digest}"))


def _cost_rows(run: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, tokens and FLOPs of each part that has either."""
    tokens, flops = run.get("tokens") or {}, run.get("flops") or {}
    return [(part, tokens.get(part), flops.get(part)) for part in {**tokens, **flops}]


def _shown(view: SampleView) -> ShownSample:
    numbered = [NumberedChunk(number, chunk) for number, chunk in enumerate(view.chunks, 1)]
    shown = numbered[:MAX_CHUNKS]
    return ShownSample(
        view=view,
        blocks=list(_blocks(shown)),
        num_left_out=len(numbered) - len(shown),
        largest=_largest(view, shown),
        strongest=_strongest(shown),
        has_scores=any(token.logprob is not None for chunk in view.chunks for token in chunk.student),
    )


def _blocks(numbered: Iterable[NumberedChunk]) -> Iterator[list[NumberedChunk]]:
    """Runs of chunks that end with a line where there is one in time."""
    block: list[NumberedChunk] = []
    for entry in numbered:
        block.append(entry)
        if len(block) >= _BLOCK and (entry.chunk.text.endswith("⏎") or len(block) >= 3 * _BLOCK):
            yield block
            block = []
    if block:
        yield block


def _largest(view: SampleView, shown: Iterable[NumberedChunk]) -> LargestChunk | None:
    largest = view.largest_chunk
    if largest is None:
        return None
    number = next((entry.number for entry in shown if entry.chunk is largest), None)
    return LargestChunk(f"{len(largest.student)}:{len(largest.teacher)}", number)


def _strongest(numbered: Iterable[NumberedChunk]) -> list[NumberedChunk]:
    """The chunks on which student and teacher disagree most, the largest disagreement first."""
    scored = [entry for entry in numbered if entry.chunk.log_ratio]
    return sorted(scored, key=lambda entry: -abs(entry.chunk.log_ratio or 0.0))[:_NUM_STRONGEST]


def model_name(model: str) -> str:
    """A hub id as it is, of a local folder's path the last part."""
    return Path(model).name if Path(model).is_absolute() or model.startswith(".") else model


def environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        format.nats,
        format.signed,
        format.score,
        format.count,
        format.percent,
        format.si,
        format.duration,
        format.tint,
        position,
        model_name,
    ):
        environment.filters[function.__name__] = function
    environment.globals["version"] = crossdistill.__version__
    return environment
