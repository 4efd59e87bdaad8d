"""The results table of a report: the student before and after training, a control, and the teacher."""

from dataclasses import dataclass
from typing import Any

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
