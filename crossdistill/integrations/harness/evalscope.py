"""ModelScope's evalscope."""

import json
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.integrations.harness.base import Harness, HarnessRequest
from crossdistill.runs.evaluated_model import base_of


class EvalScope(Harness):
    """``evalscope eval``.

    It runs a checkpoint's own code without asking, so that this must have been allowed. It takes data sets from
    ModelScope unless its ``--dataset-hub`` says otherwise.

    Example:
        >>> request = HarnessRequest("org/model", ("gsm8k",), Path("out"), python="python", trust_remote_code=True)
        >>> print(*EvalScope().command(request))
        python -m evalscope.cli.cli eval --model org/model --datasets gsm8k --work-dir out --no-timestamp --seed 0
        --model-args {"precision": "auto"}
    """

    name = "evalscope"
    distribution = "evalscope"

    def command(self, request: HarnessRequest) -> list[str]:
        if not request.trust_remote_code:
            raise InputError(
                "evalscope runs the code that a checkpoint brings along without asking: allow it with "
                "--trust-remote-code if you trust this one."
            )
        if base_of(request.model) != request.model:
            raise InputError(
                f"evalscope evaluates no adapters, such as {request.model}: merge it into its model first."
            )
        loading = {"precision": _precision(request.dtype)}
        if request.device is not None:
            loading["device_map"] = request.device
        return [
            *(request.python, "-m", "evalscope.cli.cli", "eval", "--model", request.model),
            *("--datasets", *request.tasks, "--work-dir", str(request.folder), "--no-timestamp"),
            *("--seed", str(request.seed), "--model-args", json.dumps(loading)),
            *([] if request.limit is None else ["--limit", str(request.limit)]),
            *request.arguments,
        ]

    def results(self, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
        files = sorted((folder / "reports").glob("*/*.json"))
        if not files:
            raise InputError(f"evalscope wrote no report to {folder}: see its log there.")
        reports = (json.loads(path.read_text(encoding="utf-8")) for path in files)
        return {report["dataset_name"]: _metrics(report) for report in reports}


def _precision(dtype: str) -> str:
    return dtype if dtype == "auto" else f"torch.{dtype}"


def _metrics(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    names = [(metric["identity"], metric) for metric in report["metrics"]]
    return {
        f"{identity['name']},{identity['aggregation']}": {"mean": one["score"], "stderr": None, "n": one["num"]}
        for identity, one in names
    }
