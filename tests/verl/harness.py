"""Runs verl's own ``main_ppo`` on the CPU in verl's environment, on the demo's models, from a run file of ours."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from datasets import Dataset

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.integrations.verl.write import write_config
from crossdistill.runs.config import RunConfig

ROOT = Path(__file__).parents[2]
WORKERS = 2
START_S = 1200.0
"""In which a run must have made its first step: it starts ray and a dozen of processes."""
ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",  # the engine that is registered for GPUs, on this platform
    "VERL_USE_EXTERNAL_MODULES": "tests.verl.cpu",
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
}
FOR_A_CPU = (
    "actor_rollout_ref.rollout.name=cpu",
    "actor_rollout_ref.rollout.agent.default_agent_loop=crossdistill_cpu",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.rollout.free_cache_engine=False",
    "actor_rollout_ref.model.use_remove_padding=False",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    "reward.num_workers=1",
    "data.dataloader_num_workers=0",
    "trainer.device=cpu",
    "ray_kwargs.ray_init.num_cpus=16",
    f"+ray_kwargs.ray_init.num_gpus={WORKERS}",
    "+ray_kwargs.ray_init.object_store_memory=500000000",
    "+ray_kwargs.ray_init.include_dashboard=False",
)


def prepare(folder: Path, url: str, steps: int, batch: int, num_prompts: int = 2048, **train: Any) -> None:
    """Write the run file's configuration for verl into a folder: prompts, and held-out sums with their answers."""
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": message(p)}) + "\n" for p in problems("train", num_prompts, seed=3)))
    settings = {
        "per_device_train_batch_size": batch // WORKERS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_steps": steps,
        "max_completion_length": 24,
        "activation_checkpointing": False,
        "bf16": False,
        "save_strategy": "no",
        "model_init_kwargs": {"attn_implementation": "sdpa"},
        **train,
    }
    config = RunConfig(
        student=asset("student"),
        teacher=url,
        teacher_tokenizer=asset("teacher"),
        dataset=str(rows),
        train=settings,
    )
    write_config(config, folder, gpus=WORKERS)
    test = [
        {
            "data_source": "sums",
            "prompt": message(problem),
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"index": number},
        }
        for number, problem in enumerate(problems("test", 200, seed=1))
    ]
    Dataset.from_list(test).to_parquet(str(folder / "test.parquet"))


def exact_match(folder: Path, every: int) -> list[str]:
    """Settings with which verl's validation grades greedy answers by a reward function of verl's."""
    return [
        "+crossdistill.validation=reward",
        f"data.val_files={folder}/test.parquet",
        f"reward.custom_reward_function.path={ROOT}/tests/verl/reward.py",
        "trainer.val_before_train=True",
        f"trainer.test_freq={every}",
        "actor_rollout_ref.rollout.val_kwargs.do_sample=False",
        "actor_rollout_ref.rollout.val_kwargs.temperature=0",
    ]


@dataclass
class Run:
    """A process of verl's trainer.

    Attributes:
        process: the driver.
        log: its output, and that of ray's processes.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def steps(self) -> dict[int, dict[str, float]]:
        """The metrics of each step, as verl's console logs them."""
        return dict(_steps(self.text()))

    def wait_for_step(self, step: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while step not in self.steps():
            assert self.process.poll() is None, self.text()[-3000:]
            assert time.monotonic() < end, self.text()[-3000:]
            time.sleep(1)

    def kill(self) -> None:
        """Kill the driver and everything that it has started, ray's processes among them, without a word."""
        if self.process.poll() is None:
            started = psutil.Process(self.process.pid).children(recursive=True)
            for process in (self.process, *started):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            self.process.wait()
            psutil.wait_procs(started, timeout=30)


def launch(python: str, folder: Path, *overrides: str, plainly: bool = False, records: Path | None = None) -> Run:
    """Start verl; `plainly` by its own command in place of ours."""
    program = ["verl.trainer.main_ppo"] if plainly else ["crossdistill", "verl-run"]
    command = [python, "-m", *program, "--config-path", str(folder), "--config-name", "verl", *FOR_A_CPU, *overrides]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"} | ENVIRONMENT
    if records is not None:
        records.mkdir()
        environment["VERL_TEST_RECORDS"] = str(records)
    log = folder / f"log-{time.monotonic_ns()}.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
        )
    return Run(process, log)


def read_records(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob(f"{kind}-*")) for line in path.read_text().splitlines()]


def _steps(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    for line in text.splitlines():
        _, marker, rest = line.partition("step:")
        number, separator, metrics = rest.partition(" - ")
        if marker and separator and number.isdigit():
            pairs = (item.rpartition(":") for item in metrics.split(" - "))
            yield int(number), {name: _number(value) for name, _, value in pairs}


def _number(value: str) -> float:
    """A figure of the log, which may be written as ``np.float64(2.0)``."""
    text = value.strip()
    return float(text[text.index("(") + 1 : -1] if text.startswith("np.") else text)
