"""The table of what an evaluation found: before and after training, of a control and of the teacher."""

from dataclasses import dataclass
from typing import Any

_NAMES = {"before": "student before", "after": "student after", "control": "control", "teacher": "teacher"}


@dataclass(frozen=True)
class MetricRow:
    """A measured mean with its 95 % interval, where it has one, and its difference to the mean before training."""

    name: str
    mean: float
    ci: tuple[float, float] | None
    n: int | None
    difference: float | None


def metric_rows(metrics: dict[str, Any]) -> list[MetricRow]:
    """The rows in the order before, after, control, teacher; only those that have a mean."""
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
    """The least and the largest value that the rows reach with their intervals; (0, 1) where there are none."""
    values = [value for row in rows for value in (row.mean, *(row.ci or ()))]
    return (min(values), max(values)) if values else (0.0, 1.0)


def position(value: float, value_range: tuple[float, float]) -> float:
    """Where `value` lies in a range, in percent; in the middle of an empty range."""
    low, high = value_range
    return 100 * (value - low) / (high - low) if high > low else 50.0


def _interval(ci: Any) -> tuple[float, float] | None:
    return None if not ci or None in ci else (ci[0], ci[1])
