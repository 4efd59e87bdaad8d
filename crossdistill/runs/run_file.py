"""``run.json``: what a run was and what came of it."""

import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import crossdistill
from crossdistill.errors import InputError
from crossdistill.files import write_text

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.jsonl"
"""Responses of a run, one a line: ``prompt``, ``response`` (what is no text as escapes), ``bytes`` (the same exactly,
in base64), ``ids``, and ``view``, the alignment in its report."""


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as JSON, so that a reader sees the old file or the new one and never a part.

    Arrays and tensors become lists, paths strings. JSON has no NaN or infinity: they become null.
    """
    write_text(path, json.dumps(_as_json(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_run(folder: str | Path) -> dict[str, Any]:
    """The content of ``run.json`` in a run's folder.

    Raises InputError where there is none, or where it is not a JSON object.
    """
    path = Path(folder) / RUN_FILE
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} has no {RUN_FILE}; give the output folder of a finished run.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); run again, or take it from a backup.") from None
    if not isinstance(run, dict):
        raise InputError(f"{path} holds a {type(run).__name__} where an object is due; it is no run file.")
    return run


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those that a run's numbers depend on, where installed."""
    found = {"python": platform.python_version(), "crossdistill": crossdistill.__version__}
    for package in ("torch", "transformers", "trl", "tokenizers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, tensors
        return _as_json(value.tolist())
    return value
