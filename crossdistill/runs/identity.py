"""Which run a folder is of: what a resumed run must have in common with it."""

from typing import Any

from crossdistill.runs.config import RunConfig, SFTRunConfig

_REPAIRS = (  # so that a run that its coverage guard or its teacher's server stopped can be resumed
    *("min_coverage", "low_coverage"),
    *("teacher_server", "teacher_cache", "teacher_cache_mib"),
)
_RECORDS = (  # what is logged, shown and kept: none of it changes what is learned
    *("logging_steps", "logging_strategy", "logging_first_step", "log_level", "log_completions", "disable_tqdm"),
    *("report_to", "run_name", "project", "save_steps", "save_strategy", "save_total_limit"),
)
MAY_CHANGE = frozenset((*_REPAIRS, *_RECORDS))
"""Keys of [train] that a resumed run may have otherwise."""
_DEFAULTS = {"max_steps": -1, "num_train_epochs": 3.0}
"""Keys of [train] that a resumed run may have greater, and what they are if they are left out."""


def identity(config: RunConfig | SFTRunConfig) -> dict[str, Any]:
    """The configuration of a run without what may change: MAY_CHANGE and the URLs of servers.

    Args:
        config: of the run.

    Returns:
        JSON data.

    Example:
        >>> run = RunConfig(student="a", teacher="http://host:1", teacher_tokenizer="b", dataset="c")
        >>> identity(run)["teacher"]
        'a server'
    """
    return identity_of(config.model_dump(mode="json"))


def identity_of(entry: dict[str, Any]) -> dict[str, Any]:
    """:func:`identity` of a configuration that is JSON data, as the ``config`` of ``run.json``."""
    teachers = {
        name: {**table, "model": _without_url(table["model"])} for name, table in (entry.get("teachers") or {}).items()
    }
    train = {key: value for key, value in entry["train"].items() if key not in MAY_CHANGE}
    kept = {**entry, "teacher": _without_url(entry["teacher"]), "train": train}
    return {**kept, "teachers": teachers} if teachers else kept


def as_long(saved: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The identity of a run as if it had been as long as is wanted now, if that is longer.

    Args:
        saved: of the run.
        wanted: of what is to be done.

    Example:
        >>> as_long({"train": {"max_steps": 20}}, {"train": {"max_steps": 30}})
        {'train': {'max_steps': 30}}
        >>> as_long({"train": {"max_steps": 20}}, {"train": {"max_steps": 10}})
        {'train': {'max_steps': 20}}
    """
    before, now = saved.get("train") or {}, wanted.get("train") or {}
    grown = {key: now[key] for key in _DEFAULTS.keys() & now.keys() if _grows(key, before, now)}
    return {**saved, "train": {**before, **grown}} if grown else saved


def _grows(key: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    was = before.get(key, _DEFAULTS[key])
    return 0 < was <= now[key]  # a max_steps of -1 leaves the length to the epochs


def _without_url(model: str | None) -> str | None:
    from crossdistill.inspection.model_name import is_url

    return "a server" if model is not None and is_url(model) else model
