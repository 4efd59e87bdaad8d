"""The worker, whose student's weights are sent after every step as to a vLLM server: FOLDER/NAME/sent-N.safetensors."""

import shutil
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from crossdistill.train.vllm import engine as engine_module
from crossdistill.train.vllm.engine import RolloutEngine
from tests.engines import worker
from tests.engines.case import Case


class KeepingClient:
    """Stands for the client of a server: keeps the file of each time."""

    def __init__(self, url: str, timeout_s: float, group_port: int):
        self.kept: list[Path] = []
        self.folder = Path(url)

    def check(self, is_tied: bool) -> None:
        pass

    def reload_weights(self, folder: Path) -> None:
        (file,) = folder.iterdir()
        self.kept.append(self.folder / f"sent-{len(self.kept) + 1}.safetensors")
        shutil.copy(file, self.kept[-1])

    def reset_prefix_cache(self) -> None:
        pass


class SendWeights(TrainerCallback):
    """After every step, once the student is wrapped."""

    def __init__(self, trainer: Any, folder: Path):
        self._trainer, self._folder = trainer, folder

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._engine = RolloutEngine(
            str(self._folder / "weights"),
            model=self._trainer.model,
            accelerator=self._trainer.accelerator,
            processing_class=None,
            mode="server",
            server_base_url=str(self._folder),
        )

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._engine.sync_weights()


def make_trainer(case: Case, folder: Path, plain: Any = worker.make_trainer) -> Any:
    trainer = plain(case, folder)
    trainer.add_callback(SendWeights(trainer, folder))
    return trainer


if __name__ == "__main__":
    engine_module.RolloutClient = KeepingClient  # type: ignore[assignment,misc]
    worker.make_trainer = make_trainer
    worker.main(Path(sys.argv[1]))
