"""EleutherAI's lm-evaluation-harness."""

import json
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.integrations.harness.base import Harness, HarnessRequest
from crossdistill.runs.evaluated_model import base_of

_STDERR = "_stderr"


class LmEval(Harness):
    """``lm_eval run --model hf``.

    Example:
        >>> request = HarnessRequest("org/model", ("gsm8k",), Path("out"), limit=8, python="python")
        >>> print(*LmEval().command(request))
        python -m lm_eval run --model hf --model_args pretrained=org/model,dtype=auto --tasks gsm8k --output_path out
        --seed 0 --limit 8
    """

    name = "lm-eval"
    distribution = "lm_eval"

    def command(self, request: HarnessRequest) -> list[str]:
        return [
            *(request.python, "-m", "lm_eval", "run", "--model", "hf", "--model_args", _model_arguments(request)),
            *("--tasks", ",".join(request.tasks), "--output_path", str(request.folder), "--seed", str(request.seed)),
            *([] if request.limit is None else ["--limit", str(request.limit)]),
            *([] if request.device is None else ["--device", request.device]),
            *(["--trust_remote_code"] if request.trust_remote_code else []),
            *request.arguments,
        ]

    def results(self, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
        files = list(folder.rglob("results_*.json"))
        if not files:
            raise InputError(f"lm-eval wrote no results to {folder}: see its log there.")
        records = [json.loads(path.read_text(encoding="utf-8")) for path in files]
        return {task: _metrics(entry) for record in records for task, entry in record["results"].items()}


def _metrics(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """From ``"exact_match,strict-match"`` and ``"exact_match_stderr,strict-match"``, a metric and its filter."""
    numbers = {key: value for key, value in entry.items() if "," in key}
    found = {}
    for key, value in numbers.items():
        metric, filtered = key.split(",", 1)
        if not metric.endswith(_STDERR):
            stderr = numbers.get(f"{metric}{_STDERR},{filtered}")
            is_known = isinstance(stderr, int | float)  # "N/A" if lm-eval has none
            found[key] = {"mean": value, "stderr": stderr if is_known else None, "n": entry.get("sample_len")}
    return found


def _model_arguments(request: HarnessRequest) -> str:
    base = base_of(request.model)
    adapter = {} if base == request.model else {"peft": request.model}
    given = {"pretrained": base, **adapter, "dtype": request.dtype}
    if any("," in value for value in given.values()):
        raise InputError(f"lm-eval cannot be given the model {request.model}, which has a comma: rename the folder.")
    return ",".join(f"{key}={value}" for key, value in given.items())
