"""Evaluations: a model, tasks and settings in, graded samples and scores in a folder out."""

from pathlib import Path
from typing import Any

from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions

BATCH_TOKENS = 32_768
"""Most tokens of prompts and responses in a batch, counted at their full length."""


def evaluate_model(
    model: Any,
    tokenizer: Any,
    task: Task,
    options: TaskOptions,
    sampling: Sampling,
    folder: Path,
    *,
    name: str = "",
    batch_tokens: int = BATCH_TOKENS,
    is_quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate a model that is loaded on one task, and write ``samples/TASK.jsonl`` and ``eval.json``.

    The model's mode (training or evaluation) of each module and the states of the random number generators are as
    before afterwards. An evaluation that was interrupted is continued if the folder holds its samples.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters, on its device.
        tokenizer: the model's, with a chat template.
        task: to evaluate it on.
        options: which of its problems, and how they are graded.
        sampling: how responses are sampled; of the task's own if it is to be ``task.sampling``.
        folder: to write; new, or of the same evaluation.
        name: of the model, in ``eval.json``.
        batch_tokens: most tokens of prompts and responses in a batch, counted at their full length.
        is_quiet: whether to show no progress.

    Returns:
        The content of ``eval.json``; ``["tasks"][task.name]["metrics"]["avg@k"]`` has ``mean``, ``ci`` and ``n``.

    Raises:
        InputError: bad input, or the folder holds another evaluation.
    """
    raise NotImplementedError
