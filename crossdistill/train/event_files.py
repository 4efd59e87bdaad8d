"""Where TensorBoard's files go if a figure is logged before training begins."""

from pathlib import Path
from typing import Any

from transformers.integrations.integration_utils import TensorBoardCallback, default_logdir


def keep_event_files(trainer: Any) -> None:
    """Let TensorBoard write to the output folder from the first figure on.

    transformers chooses the folder as training begins, so that an evaluation before it opens files in the current
    folder, where the curve of training then follows.

    Args:
        trainer: of transformers.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(Path(trainer.args.output_dir) / default_logdir())
