"""Two steps of a multimodal student, for one process or several: STUDENT TEACHER OUTPUT."""

import json
import sys
from pathlib import Path

from tests.models import Pair
from tests.train.harness import make_trainer


def main(student: str, teacher: str, output: Path) -> None:
    trainer = make_trainer(
        Pair(student, teacher),
        output,
        per_device_train_batch_size=2,
        max_steps=2,
        weight_decay=0.1,
        low_coverage="ignore",
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        result = {"processes": trainer.accelerator.num_processes, "steps": len(trainer.steps)}
        (output / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
