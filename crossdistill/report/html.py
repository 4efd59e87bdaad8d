"""HTML reports: a run, or an alignment alone, as one self-contained file.

A page loads nothing. The only script is the search of an alignment page, and a policy in the page forbids any other.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crossdistill
from crossdistill.extras import require
from crossdistill.files import write_text
from crossdistill.report import format
from crossdistill.report.alignment.view import ChunkView, SampleView
from crossdistill.report.curves import EVALUATION, TRAINING, accuracy_charts, curve_charts
from crossdistill.report.results import direction, evaluation_history, fates, metric_range, metric_rows, position
from crossdistill.report.settings import device_rows, shown_settings

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_CHUNKS = 20_000
"""Chunks of a response that a page shows; browsers grow slow beyond this."""

_TEMPLATES = Path(__file__).parent / "templates"
_BLOCK = 150  # chunks that a browser lays out at once; it skips blocks that are out of sight
_NUM_STRONGEST = 6
_BEGINNING = 72
_FILTERS = (
    format.nats,
    format.signed,
    format.score,
    format.count,
    format.percent,
    format.si,
    format.duration,
    format.tint,
    format.model_name,
    format.breakable,
    position,
)


@dataclass(frozen=True)
class NumberedChunk:
    """A chunk and its number in its sample, from 1; the numbers of sample and chunk form its anchor in the page."""

    number: int
    chunk: ChunkView

    @property
    def reads_as_tokens(self) -> bool:
        """Whether the student's tokens, joined, read as the chunk's text; tokens that cut a character do not."""
        return "".join(token.text for token in self.chunk.student) == self.chunk.text


@dataclass(frozen=True)
class LargestChunk:
    """The largest chunk of a sample.

    Attributes:
        size: "student tokens:teacher tokens".
        number: of the chunk; None if the page does not show it.
    """

    size: str
    number: int | None


@dataclass(frozen=True)
class ShownSample:
    """A sample as a page shows it.

    Attributes:
        view: the sample.
        blocks: its chunks, in runs that a browser lays out separately.
        num_left_out: chunks beyond MAX_CHUNKS.
        largest: the largest chunk; None if nothing is aligned.
        strongest: the chunks on which student and teacher disagree most.
        has_scores: whether student tokens have log-probabilities.
    """

    view: SampleView
    blocks: list[list[NumberedChunk]]
    num_left_out: int
    largest: LargestChunk | None
    strongest: list[NumberedChunk]
    has_scores: bool

    @property
    def beginning(self) -> str:
        """The first characters of the response."""
        text = "".join(chunk.text for chunk in self.view.chunks[:_BEGINNING])
        return text[:_BEGINNING] or "(nothing)"


def write_report(
    path: str | Path, run: dict[str, Any], history: Sequence[dict[str, Any]], samples: Sequence[SampleView]
) -> None:
    """Write the report of a run as one self-contained file, atomically.

    Args:
        path: of the file.
        run: the content of ``run.json``; the page leaves out what it lacks.
        history: rows of the trainer's log, such as ``trainer.state.log_history``.
        samples: responses to show aligned, up to MAX_CHUNKS chunks each.

    Raises:
        InputError: the extra ``report`` is not installed.
    """
    page = environment().get_template("report.html.j2")
    coverage = run.get("coverage") or {}
    rows = metric_rows(run.get("metrics") or {})
    context = {
        "run": run,
        "metrics": rows,
        "metric_range": metric_range(rows),
        "direction": direction(str(run.get("metric") or "")),
        "coverage": coverage,
        "dropped": coverage.get("dropped") or {},
        "fates": fates(coverage),
        "costs": _cost_rows(run),
        "evaluation": [
            *curve_charts(EVALUATION, evaluation_history(run, history)),
            *accuracy_charts(run.get("accuracy") or {}),
        ],
        "charts": curve_charts(TRAINING, history),
        "samples": [_shown(sample) for sample in samples],
        "settings": shown_settings(run),
        "device": device_rows(run),
    }
    write_text(path, page.render(context))


def write_alignment_page(path: str | Path, samples: Sequence[SampleView], note: str = "") -> None:
    """Write aligned responses as one self-contained file with a search, atomically.

    Args:
        path: of the file.
        samples: responses to show aligned, up to MAX_CHUNKS chunks each.
        note: a line at the top of the page.

    Raises:
        InputError: jinja2 is not installed.
    """
    script = (_TEMPLATES / "search.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # the only script that may run
    page = environment().get_template("alignment.html.j2")
    context = {"samples": [_shown(sample) for sample in samples], "note": note}
    write_text(path, page.render(context, script=script, script_hash=f"sha256-{digest}"))


def _cost_rows(run: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(part, tokens, FLOPs) of each part that has either."""
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
    """Runs of about _BLOCK chunks that end with a line of the response, if one ends within three times as many."""
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
    """The chunks on which student and teacher disagree most, strongest first."""
    scored = [entry for entry in numbered if entry.chunk.log_ratio]
    return sorted(scored, key=lambda entry: -abs(entry.chunk.log_ratio or 0.0))[:_NUM_STRONGEST]


def environment() -> "Environment":
    """The template engine of all pages.

    Raises:
        InputError: jinja2 is not installed.
    """
    require("report", "jinja2", user="an HTML page")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in _FILTERS})
    environment.globals["version"] = crossdistill.__version__
    return environment
