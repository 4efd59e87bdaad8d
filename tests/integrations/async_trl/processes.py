"""Two steps on the tiny pair, in one process or several: the folder holds the pair, and then the result.

With "unplugged" as a third argument, the weights do not reach the sampler after the first step; with "broken", the
worker has an error of its own.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.distill import Distiller
from crossdistill.integrations.async_trl import AsyncTrainer, LocalSampler, RolloutWorker
from crossdistill.integrations.async_trl.trainer import AsyncDistillationConfig
from crossdistill.teachers import LocalTeacher
from tests.models import MESSAGES

BATCH = 4


class Unplugged(LocalSampler):
    """Gets weights once."""

    sent = 0

    def send_weights(self, iterator: Any) -> None:
        self.sent += 1
        if self.sent > 1:
            raise OSError("unplugged")
        super().send_weights(iterator)


class Broken(LocalSampler):
    def sample(self, prompt_ids: Any) -> Any:
        raise KeyError("broken")


KINDS = {"sound": LocalSampler, "unplugged": Unplugged, "broken": Broken}


def main(folder: Path, num_processes: int, kind: str = "sound") -> None:
    host = sys.modules[AsyncTrainer.__bases__[0].__module__]
    host.get_peak_flops_per_device = lambda *_: None  # it asks a GPU its name
    student, teacher = (
        AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32) for name in ("student", "teacher")
    )
    tokenizers = {name: AutoTokenizer.from_pretrained(folder / name) for name in ("student", "teacher")}
    size = student.get_input_embeddings().weight.shape[0]
    distiller = Distiller(tokenizers["student"], LocalTeacher(teacher, tokenizers["teacher"]), vocab_size=size)
    sampler = KINDS[kind](student, distiller.stop_ids, 8)
    worker = RolloutWorker(distiller, [{"prompt": prompt} for prompt in MESSAGES], sampler, portion=2)
    args = AsyncDistillationConfig(
        str(folder / "output"),
        per_device_train_batch_size=BATCH // num_processes,
        max_steps=2,
        max_staleness=0,
        optim="sgd",
        learning_rate=0.1,
        max_grad_norm=0,
        bf16=False,
        use_cpu=True,
        ddp_backend="gloo",
        activation_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = AsyncTrainer(str(folder / "student"), worker, args, weight_transfer=sampler)
    trainer.train()
    if trainer.accelerator.is_main_process:
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        weights = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        torch.save({"losses": torch.tensor(losses), **weights}, folder / f"after-{num_processes}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
