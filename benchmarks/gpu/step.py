"""Training steps of the pair of random weights, by their parts."""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset

from benchmarks.dense.measure import synchronise
from benchmarks.gpu.installed import VLLM
from benchmarks.gpu.pair import Pair, saved_pair
from benchmarks.gpu.plan import Steps
from benchmarks.steps.parts import BACKWARD, FORWARD, HEAD, OPTIMIZER, SAMPLING, SCORING, TEACHER, watched
from benchmarks.steps.step_seconds import StepSeconds
from benchmarks.steps.stopwatch import REST, Stopwatch
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

PARTS = (SAMPLING, TEACHER, SCORING, FORWARD, HEAD, BACKWARD, OPTIMIZER, REST)
WARM_UP = 1
"""Steps that do not count."""


def clock(device: str) -> Callable[[], float]:
    """Seconds on the wall; what a GPU was told to do before is done."""

    def seconds() -> float:
        synchronise(device)
        return time.perf_counter()

    return seconds


@contextmanager
def vllm_watched(watch: Stopwatch, trainer: Any) -> Iterator[None]:
    """Sampling by vLLM is a part, too, with the weights that are sent to it."""
    with ExitStack() as stack:
        for name in ("generate", "sync_weights") if trainer.use_vllm else ():
            timed = watch.timed(SAMPLING, getattr(trainer.vllm_generation, name))
            stack.enter_context(patch.object(trainer.vllm_generation, name, timed))
        yield


def measure_steps(sampler: str, steps: Steps, device: str, small: bool, folder: Path) -> dict[str, Any]:
    """The figures of training steps whose rollouts transformers or vLLM samples."""
    watch = Stopwatch(clock(device))
    taken = StepSeconds(watch)
    with tempfile.TemporaryDirectory() as output:
        trainer = _trainer(saved_pair(folder / "pair", device, small), sampler, steps, device, output)
        trainer.add_callback(taken)
        student, teacher = trainer.accelerator.unwrap_model(trainer.model), trainer.teacher.model
        with watched(watch, trainer, student, teacher), vllm_watched(watch, trainer):
            trainer.train()
    counted = taken.steps[WARM_UP:]
    lengths = [len(one.student_logprobs) for one in trainer.scored]
    seconds = median(sum(step.values()) for step in counted)
    return {
        "status": "ok",
        "step_seconds": seconds,
        "parts": {part: median(step.get(part, 0.0) for step in counted) for part in PARTS},
        "share_of_rest": median(step[REST] / sum(step.values()) for step in counted),
        "steps": counted,
        "response_tokens": lengths,
        "teacher_tokens": [one.num_teacher_tokens for one in trainer.scored],
        "tokens_per_second": sum(lengths) / seconds,
        **memory(device),
    }


def memory(device: str) -> dict[str, Any]:
    """The peak of torch's allocator and what the device's memory holds at the end, vLLM's own cache included; on a CPU
    the peak of the process.
    """
    if device == "cpu":
        return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    free, total = torch.cuda.mem_get_info()
    return {"peak_bytes": torch.cuda.max_memory_allocated(), "device_bytes_in_use": total - free}


def _trainer(pair: Pair, sampler: str, steps: Steps, device: str, output: str) -> CrossTokenizerTrainer:
    on_gpu = device != "cpu"
    vllm = {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": 0.3,
        "vllm_max_model_length": 4 * steps.prompt_tokens + steps.response_tokens,
    }
    config = CrossTokenizerConfig(
        output_dir=output,
        objective="dpca",
        max_steps=steps.steps + WARM_UP,
        per_device_train_batch_size=steps.batch,
        max_completion_length=steps.response_tokens,
        learning_rate=1e-6,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        **(vllm if sampler == VLLM else {}),
    )
    texts = [f"Add {k} and {3 * k}, then " * steps.prompt_tokens for k in range(steps.batch * (steps.steps + WARM_UP))]
    prompts = Dataset.from_dict({"prompt": [text[: 2 * steps.prompt_tokens] for text in texts]})
    return CrossTokenizerTrainer(pair.student, pair.teacher, config, train_dataset=prompts)
