"""verl's agent loop with tools, run by itself on a scripted sampler: python -m tests.verl.tool_loop OUTPUT

Writes what the plug-in makes of two turns with a tool call between them.
"""

import asyncio
import json
import sys
from pathlib import Path

from hydra import compose, initialize_config_module
from transformers import AutoTokenizer
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
from verl.tools.function_tool import FUNCTION_TOOL_REGISTRY, function_tool
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from crossdistill.demo.run import asset
from crossdistill.integrations.verl.plugin import ToolDistillationLoop
from tests.verl.tool_talk import ANSWER, CALL, QUESTION, STUDENT_TEMPLATE, TEACHER_TEMPLATE


@function_tool
def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return str(a + b)


class Server:
    """Says the call, then the answer; each token has log-probability -1."""

    def __init__(self, tokenizer):
        self.said = [[*tokenizer.encode(text, add_special_tokens=False), 3] for text in (CALL, ANSWER)]
        self.asked = []

    async def generate(self, *, prompt_ids, sampling_params, **kwargs):
        self.asked.append((list(prompt_ids), sampling_params["stop_token_ids"]))
        ids = self.said[len(self.asked) - 1]
        return TokenOutput(token_ids=ids, log_probs=[-1.0] * len(ids), extra_fields={"global_steps": 0})


async def run(output: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    tokenizer.chat_template = STUDENT_TEMPLATE
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(
            "ppo_trainer",
            [
                f"actor_rollout_ref.model.path={asset('student')}",
                "actor_rollout_ref.rollout.name=vllm",
                "data.max_prompt_length=128",
                "data.max_response_length=256",
                f"+crossdistill.teacher={asset('teacher')}",
            ],
        )
    config = type(config)({**config})
    config.crossdistill.teacher_chat_template_kwargs = {"chat_template": TEACHER_TEMPLATE}
    server = Server(tokenizer)
    loop = ToolDistillationLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        tools=ToolListWrap(list(FUNCTION_TOOL_REGISTRY.values())),
    )
    made = await loop.run({"temperature": 1.0, "logprobs": True}, raw_prompt=QUESTION, is_validation=False)
    fields = made.as_dict()
    result = {
        "ids": fields["responses"].tolist(),
        "prompt": tokenizer.decode(fields["prompts"]),
        "response": tokenizer.decode(fields["responses"]),
        "mask": fields["response_mask"].tolist(),
        "advantages": fields["rm_scores"].tolist(),
        "record": fields["extra_fields"]["crossdistill"],
        "stops": [stops for _, stops in server.asked],
        "sizes": [len(ids) for ids in server.said],
    }
    output.write_text(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
