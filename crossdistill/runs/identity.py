"""Which run a folder is of: what a resumed run must have in common with it."""

from typing import Any

from crossdistill.inspection.model_files import is_url
from crossdistill.runs.config import RunConfig

_MAY_CHANGE = (  # so that a run that its coverage guard or its teacher's server stopped can be resumed
    *("min_coverage", "low_coverage"),
    *("teacher_server", "teacher_cache", "teacher_cache_mib"),
)


def identity(config: RunConfig) -> dict[str, Any]:
    """The configuration of a run without what may change: _MAY_CHANGE and the URLs of servers.

    Args:
        config: of the run.

    Returns:
        JSON data.

    Example:
        >>> run = RunConfig(student="a", teacher="http://host:1", teacher_tokenizer="b", dataset="c")
        >>> identity(run)["teacher"]
        'a server'
    """
    entry = config.model_dump(mode="json")
    named = [(entry, "teacher"), *((table, "model") for table in (entry["teachers"] or {}).values())]
    for table, key in named:
        if is_url(table[key]):
            table[key] = "a server"
    return {**entry, "train": {key: value for key, value in entry["train"].items() if key not in _MAY_CHANGE}}
