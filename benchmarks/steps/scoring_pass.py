"""Parts of a dpca step with a local teacher, with a scoring pass of the student and without one.

``python -m benchmarks.steps.scoring_pass --output FILE`` trains the demo's student twice over the same rollouts: once
old log-probs come from a pass over the finished rollout, as they do if ``generate`` cannot be watched, and once from
the sampling itself. Steps alternate in one process, so that their ratio holds on a busy machine too.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inputs import check_file
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.errors import InputError
from crossdistill.runs.run_file import write_json
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

LEAST_STEPS = 4
PARTS = ("rollout", "student", "render", "align", "teacher", "credit", "total")


class Alternating(CrossTokenizerTrainer):
    """Takes a scoring pass at every other step."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.passes: list[bool] = []
        self.flops: list[int] = []
        self.cpu_seconds: list[float] = []

    def _watch_of(self, student: Any) -> Any:
        return None if self.state.global_step % 2 else super()._watch_of(student)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        with FlopCounterMode(display=False) if self.args.run_name == "flops" else torch.enable_grad() as counter:
            loss = super().training_step(*args, **kwargs)
        self.cpu_seconds.append(time.process_time() - began)
        self.passes.append(self.is_rescored)
        self.flops.append(counter.get_total_flops() if self.args.run_name == "flops" else 0)
        return loss


def trained(folder: str, steps: int, rows: int, name: str) -> Alternating:
    args = CrossTokenizerConfig(
        folder,
        run_name=name,
        per_device_train_batch_size=rows,
        learning_rate=3e-4,
        max_steps=steps,
        max_completion_length=48,
        activation_checkpointing=False,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    prompts = Dataset.from_list([{"prompt": message(one)} for one in problems("train", steps * rows, seed=5)])
    trainer = Alternating(asset("student"), asset("teacher"), args, train_dataset=prompts)
    trainer.train()
    return trainer


def measure(steps: int, rows: int) -> dict[str, Any]:
    """Medians over steps after the first two, which warm up and verify the run."""
    with tempfile.TemporaryDirectory() as folder:
        timed, counted = trained(folder, steps, rows, "time"), trained(folder, 4, rows, "flops")
    logged = [entry for entry in timed.state.log_history if "loss" in entry]
    found: dict[str, Any] = {"steps": steps, "rows": rows, "torch": torch.__version__}
    for name, takes_pass in (("with_scoring_pass", True), ("from_sampling", False)):
        own = [step for step in range(2, steps) if timed.passes[step] == takes_pass]
        parts = {part: median(logged[step].get(f"seconds/{part}", 0.0) for step in own) for part in PARTS}
        flops = [flops for flops, passed in zip(counted.flops, counted.passes, strict=True) if passed == takes_pass]
        found[name] = {
            "seconds": {part: round(seconds, 4) for part, seconds in parts.items()},
            "cpu_seconds": round(median(timed.cpu_seconds[step] for step in own), 4),
            "flops": median(flops),
            "policy_drift": max(logged[step]["policy_drift"] for step in own),
        }
    before, after = found["with_scoring_pass"], found["from_sampling"]
    found["ratio"] = {name: round(after[name] / before[name], 4) for name in ("cpu_seconds", "flops")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=22)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    if args.steps < LEAST_STEPS or args.rows < 1:
        parser.error(f"--steps is at least {LEAST_STEPS}, two that do not count and one of each kind, and --rows 1")
    try:
        check_file("--output", args.output)
    except InputError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    write_json(args.output, measure(args.steps, args.rows))


if __name__ == "__main__":
    main()
