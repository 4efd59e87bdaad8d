"""What a student says that calls a tool, and how both templates show it."""

STUDENT_TEMPLATE = (
    "{% if tools %}<|user|>{% for tool in tools %}{{ tool.function.name }};{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}{{ '<|user|>=' if m.role == 'tool' else '<|' ~ m.role ~ '|>' }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEACHER_TEMPLATE = (
    "{% for tool in tools %}{{ tool.function.name }}\n{% endfor %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }}]{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
ANSWER = "the sum is three"
QUESTION = [{"role": "user", "content": "one plus two"}]
RESULT = "3"
CONVERSATION = [
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}],
    },
    {"role": "tool", "content": RESULT},
    {"role": "assistant", "content": ""},
]
SCHEMA = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "The first."},
                "b": {"type": "integer", "description": "The second."},
            },
            "required": ["a", "b"],
        },
    },
}
