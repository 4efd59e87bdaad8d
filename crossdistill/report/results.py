"""The figures of a report: the models before and after training, its evaluations, what became of the bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdistill.report.curves import HIGHER, LOWER

_LOWER = ("gap", "loss")
_HIGHER = ("match", "accuracy")
_EVALUATED = {"gap": "eval_teacher_gap", "loss": "eval_loss"}
"""Word in the name of a run's metric -> its key in the trainer's log."""
_NUM_LOOKS = 5
_Z95 = 1.96  # quantile of the normal distribution
_NAMES = {"before": "student before", "after": "student after", "control": "control", "teacher": "teacher"}


@dataclass(frozen=True)
class MetricRow:
    """One row.

    Attributes:
        name: of the model, in words.
        mean: of the metric.
        ci: ends of its 95 % interval, if it has one.
        n: number of observations, if known.
        difference: to the mean before training; None if there is none, and for that row itself.
    """

    name: str
    mean: float
    ci: tuple[float, float] | None
    n: int | None
    difference: float | None


@dataclass(frozen=True)
class Fate:
    """What became of some of the sampled bytes.

    Attributes:
        name: in words.
        bytes: number of bytes.
        share: of the sampled bytes.
        tokens: number of tokens; None if it is not known.
        start: left end in the bar of all sampled bytes, in percent.
        look: CSS class of its part of the bar.
    """

    name: str
    bytes: int
    share: float
    tokens: int | None
    start: float
    look: str

    @property
    def width(self) -> float:
        """In the bar, in percent."""
        return 100 * self.share


def fates(coverage: Mapping[str, Any]) -> list[Fate]:
    """The supervised bytes, and those that were dropped, by reason, most first.

    Args:
        coverage: of ``run.json``.
    """
    sampled = coverage.get("sampled_bytes") or 0
    lost = sorted((coverage.get("dropped") or {}).items(), key=lambda item: -item[1])
    tokens = coverage.get("dropped_tokens") or {}
    parts = [("supervised", coverage.get("supervised_bytes", 0), coverage.get("supervised_tokens"), "part")]
    parts += [
        (reason.replace("_", " "), number, tokens.get(reason), f"lost{1 + index % _NUM_LOOKS}")
        for index, (reason, number) in enumerate(lost)
    ]
    found: list[Fate] = []
    for name, number, of_tokens, look in parts:
        share = number / sampled if sampled else 0.0
        start = found[-1].start + found[-1].width if found else 0.0
        found.append(Fate(name, number, share, of_tokens, start, look))
    return found


def direction(metric: str) -> str:
    """Which direction of a metric is better, in words; empty if its name does not tell.

    Example:
        >>> direction("teacher gap, nats per byte"), direction("exact match"), direction("tokens")
        ('lower is better', 'higher is better', '')
    """
    words = set(metric.replace(",", " ").split())
    return LOWER if words & set(_LOWER) else HIGHER if words & set(_HIGHER) else ""


def evaluation_history(run: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The history of a run, beginning with the evaluation before training, which the trainer's log lacks."""
    before = (run.get("metrics") or {}).get("before") or {}
    words = set(str(run.get("metric") or "").replace(",", " ").split())
    key = next((key for word, key in _EVALUATED.items() if word in words), None)
    if key is None or before.get("mean") is None or not any(key in row for row in history):
        return list(history)
    start, ends = {"step": 0, key: before["mean"]}, _interval(before.get("ci"))
    return [start if ends is None else {**start, f"{key}_se": (ends[1] - ends[0]) / 2 / _Z95}, *history]


def metric_rows(metrics: dict[str, Any]) -> list[MetricRow]:
    """The rows that have a mean, in the order before, after, control, teacher.

    Args:
        metrics: of ``run.json``: name -> its ``mean``, ``ci`` and ``n``.
    """
    present = {key: metrics[key] for key in _NAMES if (metrics.get(key) or {}).get("mean") is not None}
    before = present.get("before", {}).get("mean")
    return [
        MetricRow(
            name=_NAMES[key],
            mean=entry["mean"],
            ci=_interval(entry.get("ci")),
            n=entry.get("n"),
            difference=None if before is None or key == "before" else entry["mean"] - before,
        )
        for key, entry in present.items()
    ]


def metric_range(rows: list[MetricRow]) -> tuple[float, float]:
    """The lowest and highest value that the rows reach, with their intervals; (0, 1) if there are none."""
    values = [value for row in rows for value in (row.mean, *(row.ci or ()))]
    return (min(values), max(values)) if values else (0.0, 1.0)


def position(value: float, value_range: tuple[float, float]) -> float:
    """Position of `value` in a range, in percent; the middle if the range is empty.

    Example:
        >>> position(3.0, (2.0, 6.0))
        25.0
    """
    low, high = value_range
    return 100 * (value - low) / (high - low) if high > low else 50.0


def _interval(ci: Any) -> tuple[float, float] | None:
    return None if not ci or None in ci else (ci[0], ci[1])
