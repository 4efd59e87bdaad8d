"""A checkpoint of the last whole step, from which a resumed run draws the prompts of the step that failed again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crossdistill.integrations.verl.checkpoints import Checkpoints


class Trainer:
    """What of verl's trainer is used; its loader counts the batches that were drawn."""

    def __init__(self, folder: Path, resume_mode: str = "auto", resume_from_path: str | None = None):
        settings = {"default_local_dir": str(folder), "resume_mode": resume_mode, "resume_from_path": resume_from_path}
        self.config = SimpleNamespace(trainer=SimpleNamespace(**settings))
        self.drawn = {"batches": 0}
        self.train_dataloader = SimpleNamespace(state_dict=lambda: self.drawn)
        self.global_steps = 0
        self.calls: list[str] = []

    def draw(self) -> None:
        self.drawn["batches"] += 1

    def on_sample_end(self) -> None:
        self.calls.append("sleep")

    def _save_checkpoint(self) -> None:
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True)
        torch.save(self.train_dataloader.state_dict(), folder / "data.pt")
        self.calls.append("save")


def after(trainer: Trainer, steps: int, start: int = 0) -> Checkpoints:
    """Whole steps were made, and the prompts of the next one are drawn."""
    checkpoints = Checkpoints(trainer)
    checkpoints.begin(start)
    for _ in range(steps):
        trainer.draw()
        checkpoints.note_draw()
    trainer.draw()
    return checkpoints


def read(folder: Path, step: int) -> Any:
    return torch.load(folder / f"global_step_{step}" / "data.pt")


def test_the_prompts_of_the_failed_step_are_drawn_again(tmp_path):
    trainer = Trainer(tmp_path)
    said = after(trainer, steps=3).save(3)
    assert said == ("There is a checkpoint of step 3: launch again with trainer.resume_mode=auto to go on from it.")
    assert trainer.calls == ["sleep", "save"]
    assert read(tmp_path, 3) == {"batches": 3}


def test_what_verl_has_saved_is_not_saved_again(tmp_path):
    trainer = Trainer(tmp_path)
    checkpoints = after(trainer, steps=3)
    checkpoints.note_saved(3)
    assert "a checkpoint of step 3" in checkpoints.save(3)
    assert trainer.calls == []


def test_an_old_folder_of_the_same_step_is_no_checkpoint_of_this_run(tmp_path):
    trainer = Trainer(tmp_path)
    (tmp_path / "global_step_2").mkdir()
    with pytest.raises(FileExistsError):  # verl would write over it: it was asked to save
        after(trainer, steps=2).save(2)


def test_before_the_first_step():
    assert after(Trainer(Path("none")), steps=0).save(0) == "Nothing was trained: launch again once it is mended."


@pytest.mark.parametrize("mode", ["auto", "resume_path"])
def test_where_a_resumed_run_went_on_from(tmp_path, mode):
    trainer = Trainer(tmp_path, mode, "elsewhere/global_step_4")
    checkpoints = Checkpoints(trainer)
    expected = tmp_path / "global_step_4" if mode == "auto" else Path("elsewhere/global_step_4")
    assert checkpoints.begin(4) == expected
    assert checkpoints.begin(5) is None
    said = checkpoints.save(4)
    assert said.startswith("There is a checkpoint of step 4: launch again")
    assert ("resume_mode=auto" in said) == (mode == "auto")
    assert trainer.calls == []


def test_a_new_run_goes_on_from_nothing(tmp_path):
    assert Checkpoints(Trainer(tmp_path)).begin(0) is None
