"""A student that calls a tool, and a teacher that reads this in another form; scripted, on the tiny pair.

The student writes ``<call>{...}</call>`` and its template shows it so; the teacher's shows ``[add {...}]``.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from trl import DistillationTrainer

from tests.models import Pair
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import RecordingTrainer, make_trainer

END = "<|end|>"
STUDENT_TEMPLATE = (
    "{% if tools %}<|user|>{% for tool in tools %}{{ tool.function.name }};{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}{{ '<|user|>=' if m.role == 'tool' else '<|' ~ m.role ~ '|>' }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEACHER_TEMPLATE = (
    "<bos>{% if tools %}<turn>tools\n{% for tool in tools %}{{ tool.function.name }}\n{% endfor %}<stop>\n{% endif %}"
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }} {{ c.function.arguments | tojson }}]{% endfor %}<stop>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "<call>",
            "close_pattern": r"</call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|end\|>\s*", "content": "text"},
    },
}
QUESTION = [{"role": "user", "content": "1+2?"}]


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


def call(a: Any, b: Any = 2, name: str = "add") -> str:
    """What the student writes to call the tool."""
    return f"<call>{json.dumps({'name': name, 'arguments': {'a': a, 'b': b}})}</call>"


def in_teachers_form(a: Any, b: Any = 2, name: str = "add") -> str:
    return f"[{name} {json.dumps({'a': a, 'b': b})}]"


def student_tokenizer(pair: Pair) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    tokenizer.chat_template, tokenizer.response_template = STUDENT_TEMPLATE, RESPONSE_TEMPLATE
    return tokenizer


def teacher_tokenizer(pair: Pair) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(pair.teacher)
    tokenizer.chat_template = TEACHER_TEMPLATE
    return tokenizer


Script = Callable[[str], str]
"""From the text of all that stands before a turn to what the student says next; it ends with END where it stops."""


def asks_then_answers(before: str) -> str:
    """One call, then an answer; a question with a 9 in it is answered at once."""
    if "9" in before.partition(END)[2]:
        return f"nine{END}"
    return f"It is 3.{END}" if "=3" in before else f"{call(1)}{END}"


def trainer_with_tools(
    pair: Pair,
    output: Path,
    patch: Any,
    script: Script = asks_then_answers,
    tools: Sequence[Any] = (add,),
    vllm: Callable[[list[int], list[int]], list[float]] | None = None,
    **options: Any,
) -> RecordingTrainer:
    """vllm: its log-probabilities; where omitted, transformers samples (what the script says)."""
    student, teacher = student_tokenizer(pair), teacher_tokenizer(pair)
    given = {
        "processing_class": student,
        "teacher_processing_class": teacher,
        "tools": list(tools),
        **options.pop("trainer_options", {}),
    }
    defaults = {"prompts": [QUESTION] * 4, "max_completion_length": 80, "max_steps": 1}
    trainer = make_trainer(pair, output, trainer_options=given, **{**defaults, **options})

    def say(ids: Sequence[int]) -> list[int]:
        return student(script(student.decode(ids)), add_special_tokens=False)["input_ids"]

    if vllm is None:
        patch.setattr(DistillationTrainer, "_generate_single_turn", lambda _, ids, *rest: [say(row) for row in ids])
    else:
        from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs

        trainer.use_vllm, trainer._last_loaded_step, trainer.vllm_mode = True, -1, "server"
        trainer.vllm_generation = KeepSampledLogprobs(FakeVLLM(say, vllm), trainer.model)
    return trainer
