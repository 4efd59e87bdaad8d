"""Checkpoints of a run of verl's: the one that it went on from, and one of its last whole step if it must end."""

import copy
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """Keeps what a checkpoint needs that is saved after the next batch of prompts was drawn.

    Args:
        trainer: verl's.
    """

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._start: int | None = None
        self._saved: set[int] = set()
        self._drawn: Any = None

    def begin(self, step: int) -> Path | None:
        """Note the step that a run starts from, if none is noted.

        Args:
            step: complete steps.

        Returns:
            The checkpoint that the run goes on from; None if there is none, or if this is not the first call.
        """
        if self._start is not None:
            return None
        self._start = step
        self._saved.add(step)
        return self._folder(step) if step else None

    def note_draw(self) -> None:
        """Note which prompts were drawn, once those of a step are sampled and before the next ones are drawn."""
        self._drawn = copy.deepcopy(self._trainer.train_dataloader.state_dict())

    def note_saved(self, step: int) -> None:
        """Note that verl has saved a checkpoint."""
        self._saved.add(step)

    def save(self, step: int) -> str:
        """Save a checkpoint, unless there is one.

        Args:
            step: the last complete one.

        Returns:
            A sentence that says so, and how to go on.
        """
        if not step:
            return "Nothing was trained: launch again once it is mended."
        if step not in self._saved:
            self._trainer.on_sample_end()  # the samplers give their memory back, as before each checkpoint
            self._trainer.global_steps = step
            self._trainer._save_checkpoint()
            # verl has written the place after the prompts of the step that failed, which a resumed run must draw again
            torch.save(self._drawn, self._folder(step) / "data.pt")
        way_out = "" if self._is_elsewhere(step) else " with trainer.resume_mode=auto"
        return f"There is a checkpoint of step {step}: launch again{way_out} to go on from it."

    def _is_elsewhere(self, step: int) -> bool:
        """Whether it is the checkpoint that the user has named."""
        return bool(step == self._start and self._trainer.config.trainer.resume_mode == "resume_path")

    def _folder(self, step: int) -> Path:
        settings = self._trainer.config.trainer
        if self._is_elsewhere(step):
            return Path(settings.resume_from_path)
        return Path(settings.default_local_dir) / f"global_step_{step}"
