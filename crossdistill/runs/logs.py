"""Where loggers write: below the run's folder, and one run of a logger for a run, also if it is resumed."""

import os
import secrets
from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from crossdistill.runs.folder import RunFolder


def keep_logs(trainer: Any, folder: RunFolder, checkpoint: Path | None) -> None:
    """Give the loggers of a run their place and their name, before training; the main process calls it.

    All write to OUTPUT/logs, unless an environment variable names another folder. For trackio the command line sets
    that variable (:func:`crossdistill.cli.running.keep_trackio`), which trackio reads as it is imported.

    Args:
        trainer: of the run.
        folder: of the run.
        checkpoint: that training goes on from; what a killed run has logged after it is superseded.
    """
    args = trainer.args
    step = 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))
    if not set(args.report_to or []) - {"none"}:
        return
    identifier = _identifier(folder.logs / "id")
    args.run_name = args.run_name or f"{folder.path.absolute().name}-{identifier}"  # trackio resumes by name
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            _keep_tensorboard(callback, folder.logs / "tensorboard", step)
        if isinstance(callback, WandbCallback):
            _begin_wandb(folder.logs, args.run_name, identifier)


def reopen_logs(trainer: Any) -> None:
    """Go on logging after training, at whose end transformers ends trackio's run, which TRL's sampling needs.

    Every process may call it.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TrackioCallback) and trainer.accelerator.is_main_process:
            callback.setup(trainer.args, trainer.state, trainer.model)


def end_logs(trainer: Any) -> None:
    """End what the loggers have opened, after the last figure; the main process calls it."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
            callback.tb_writer.close()
            callback.tb_writer = None
        if isinstance(callback, TrackioCallback):
            callback.on_train_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
        if isinstance(callback, WandbCallback):
            import wandb

            if wandb.run is not None and wandb.run.name == trainer.args.run_name:  # else it is of the program's own
                wandb.finish()


def _identifier(path: Path) -> str:
    """Of the run, for loggers; kept in a file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def _keep_tensorboard(callback: TensorBoardCallback, place: Path, step: int) -> None:
    from torch.utils.tensorboard import SummaryWriter

    callback.logging_dir = os.getenv("TENSORBOARD_LOGGING_DIR", str(place))
    if step:
        callback.tb_writer = SummaryWriter(callback.logging_dir, purge_step=step + 1)


def _begin_wandb(logs: Path, name: str, identifier: str) -> None:
    import wandb

    if wandb.run is None:  # a program of its own may have begun one
        wandb.init(
            project=os.getenv("WANDB_PROJECT", "huggingface"),  # as transformers
            name=name,
            dir=os.getenv("WANDB_DIR", str(logs)),
            id=os.getenv("WANDB_RUN_ID", identifier),
            resume="allow",
            settings=wandb.Settings(quiet=True),  # its summary of all figures would push ours off the screen
        )
