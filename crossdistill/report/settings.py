"""The settings of a run as a report shows them: what was set first, then what was left at its default."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.report.format import MISSING

_FOLDED = {
    "defaults": "Left at crossdistill's defaults",
    "library_defaults": "Left at the defaults of TRL and transformers",
}
Rows = list[tuple[str, str]]
"""(name, value) of settings."""


@dataclass(frozen=True)
class ShownSettings:
    """The settings of a run.

    Attributes:
        given: those that were set, crossdistill's own first.
        folded: a title for each group of defaults, and its rows.
    """

    given: Rows
    folded: list[tuple[str, Rows]]


def shown_settings(run: Mapping[str, Any]) -> ShownSettings:
    """The settings in ``run.json``; of a record without them, what its configuration says.

    Example:
        >>> shown_settings({"config": {"student": "S", "preset": None, "train": {"max_steps": 5}}})
        ShownSettings(given=[('student', 'S'), ('train.max_steps', '5')], folded=[])
    """
    settings = run.get("arguments") or {"given": _of_config(run.get("config") or {})}
    folded = [(title, _rows(settings[key])) for key, title in _FOLDED.items() if settings.get(key)]
    return ShownSettings(_rows(settings.get("given") or {}), folded)


def device_rows(run: Mapping[str, Any]) -> Rows:
    """Where the run computed; empty if its record does not tell."""
    return _rows(run.get("device") or {})


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration sets."""
    return {name: value for name, value in config.items() if value not in (None, {}, [])}


def _rows(settings: Mapping[str, Any]) -> Rows:
    return [(name, _shown(value)) for name, value in _flat(settings)]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings with the keys of tables joined to the tables' names, without keys of tables that are not set."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{key}", entry) for key, entry in _flat(value) if entry not in (None, {}, []))
        else:
            yield name, value


def _shown(value: Any) -> str:
    if value is None or value == {}:
        return MISSING
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"  # of TRL, which takes steps as shares, too
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
