"""``run.json``, the record of a run: its configuration, versions, costs and results."""

import json
import math
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.files import write_text

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.jsonl"
"""Some responses of a run, one JSON object per line:

- ``prompt``;
- ``response``, as text, with escapes for bytes that are not UTF-8;
- ``bytes``, the same bytes in base64;
- ``ids``, the sampled token ids;
- ``view``, the alignment in the run's report (:class:`crossdistill.report.alignment.view.SampleView`).
"""


def write_json(path: str | Path, data: Any) -> None:
    """Write data as JSON, atomically.

    Args:
        path: of the file; missing folders are created.
        data: arrays and tensors become lists, paths become strings; NaN and infinity, which JSON lacks, become null.
    """
    write_text(path, json.dumps(_as_json(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_run(folder: str | Path) -> dict[str, Any]:
    """The content of ``run.json`` in a run's folder.

    Raises:
        InputError: there is none, or it is not a JSON object.
    """
    return read_record(Path(folder) / RUN_FILE)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file that a run or an evaluation writes at its end.

    Raises:
        InputError: there is no such file, or it does not hold a JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path.parent} has no {path.name}: give the output folder of a finished run.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}): repeat the run, or restore the file from a backup.") from None
    if not isinstance(record, dict):
        raise InputError(
            f"{path} holds a {type(record).__name__}, not a JSON object: give the output folder of a finished run."
        )
    return record


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
