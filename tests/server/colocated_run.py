"""A run with vLLM in its process: vLLM binds a process to one model and one process group for good.

    python -m tests.server.colocated_run '{"dtype": "float32", "options": {...}}' OUTPUT

writes OUTPUT/figures.json.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from peft import LoraConfig
from trl.generation import vllm_generation

from crossdistill.demo.run import asset
from tests.models import Pair
from tests.server.demo_runs import demo_trainer, ends, stop_sending_weights


def main(asked: dict[str, Any], output: Path) -> None:
    """Train as asked.

    Args:
        asked: dtype (of vLLM, in place of the one that it takes for float32: bfloat16), lora (fields of LoraConfig),
            stops (ids that end a response too), stale_steps (further steps, of which vLLM does not get the weights),
            options (of the trainer).
        output: folder.
    """
    if "dtype" in asked:
        vllm_generation.LLM = partial(vllm_generation.LLM, dtype=asked["dtype"])
    options = {"vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.05, "vllm_max_model_length": 256}
    lora = LoraConfig(task_type="CAUSAL_LM", **asked["lora"]) if "lora" in asked else None
    pair = Pair(asset("student"), asset("teacher"))
    trainer = demo_trainer(pair, output, asked.get("stops", []), lora, **options, **asked.get("options", {}))
    trainer.train()
    figures: dict[str, Any] = {"steps": trainer.steps, "warnings": trainer.watchdog.as_list(), "ends": ends(trainer)}
    if "stale_steps" in asked:
        stop_sending_weights(trainer)
        trainer.args.max_steps = asked["stale_steps"]
        trainer.train()
        figures["stale"] = {"steps": trainer.steps, "warnings": trainer.watchdog.as_list()}
    (output / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
