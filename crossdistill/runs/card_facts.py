"""What the model card of a whole run says beyond what its trainer knows: data, results so far, how it was started."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from crossdistill.runs.accuracy import accuracy_curves
from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.held_out_loss import HELD_OUT_LOSS

GAP = "teacher gap, nats per byte"


def facts_of_run(folder: RunFolder, config: RunConfig | SFTRunConfig) -> dict[str, Any]:
    """Facts for a model card (:data:`crossdistill.report.card.tables.Record`), as far as the folder has them.

    Args:
        folder: of the run.
        config: of the run.
    """
    facts: dict[str, Any] = {
        "dataset": config.dataset,
        "config": config.model_dump(mode="json"),
        "command": command_line(sys.argv),
        "accuracy": accuracy_curves(folder),
    }
    if folder.before.exists():
        metric = HELD_OUT_LOSS if isinstance(config, SFTRunConfig) else GAP
        facts |= {"metric": metric, "metrics": {"before": json.loads(folder.before.read_text())}}
    return facts


def command_line(arguments: list[str]) -> str | None:
    """The command that started this process; None if it was another program.

    Args:
        arguments: of the process, its own name first.

    Example:
        >>> command_line(["/usr/bin/crossdistill", "train", "run.toml", "--output", "runs/my run"])
        "crossdistill train run.toml --output 'runs/my run'"
        >>> command_line(["/site-packages/crossdistill/__main__.py", "train"]), command_line(["train.py"])
        ('crossdistill train', None)
    """
    program = Path(arguments[0])
    is_ours = program.name == "crossdistill" or program.parts[-2:] == ("crossdistill", "__main__.py")
    return shlex.join(["crossdistill", *arguments[1:]]) if is_ours else None
