"""Small chat templates in the styles of real models, one habit each, with the tokens of the test tokenizers."""

from typing import Any

from tests.tokenizers_in_process import build

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPS = CHATML.replace("{{ m.content }}", "{{ m.content | trim }}")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
IGNORES_SYSTEM = CHATML.replace("for m in messages", "for m in messages if m.role != 'system'")
# drops the reasoning of earlier answers and inserts an empty block before the last one
HYBRID = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% set text = m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' else m.content %}"
    "{% if m.role == 'assistant' and loop.last %}"
    "{% if '</think>' in m.content %}{{ m.content.split('</think>')[0] }}</think>\n\n"
    "{% else %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
    "{{ text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
REASONER = CHATML.replace("<|im_start|>assistant\n{%", "<|im_start|>assistant\n{{ '<think>\n' }}{%")
NO_GENERATION_PROMPT = CHATML.split("{% if add_generation_prompt", maxsplit=1)[0]
ALWAYS_ASKS = NO_GENERATION_PROMPT.replace(
    "{% endfor %}", "{% if loop.last and m.role == 'user' %}<|im_start|>assistant\n{% endif %}{% endfor %}"
)
LEADS = CHATML.replace("{{ m.content }}", "{% if m.role == 'assistant' %}[final]{% endif %}{{ m.content }}")
TOOLS = (
    "{% if tools %}<|im_start|>tools {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
JSON_ARGUMENTS = TOOLS.replace("{{ c.function | tojson }}", "{{ c.function.name + ' ' + c.function.arguments }}")
STRICT_IDS = TOOLS.replace(
    "<call>", "{% if c.id | length != 9 %}{{ raise_exception('ids of 9 letters') }}{% endif %}<call>{{ c.id }}"
).replace("{{ m.content }}", "{{ m.tool_call_id }}{{ m.content }}")
NO_TOOL_ROLE = CHATML.replace(
    "<|im_start|>{{ m.role }}",
    "{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}<|im_start|>{{ m.role }}",
)

QUESTION = [{"role": "user", "content": "two + two?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *QUESTION]


def with_template(template: str | None) -> Any:
    made = build("qwen")
    made.chat_template = template
    return made


def text_of(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
