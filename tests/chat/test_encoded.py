"""Conversations that are written as text."""

import json

import pytest

from crossdistill.chat.encoded import conversation_in
from crossdistill.findings import FindingError

TALK = [{"role": "system", "content": 'Be "brief".'}, {"role": "user", "content": "It's [two] + {two}?\nSay."}]
CALL = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"a": None}}}]},
    {"role": "tool", "content": None},
]


@pytest.mark.parametrize("talk", [TALK, TALK[1:], CALL])
@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        lambda talk: json.dumps(talk, indent=2),
        lambda talk: f" \ufeff{json.dumps(talk)}\n",
        lambda talk: json.dumps([dict(sorted(message.items())) for message in talk]),
        repr,
        lambda talk: json.dumps(json.dumps(talk)),
    ],
)
def test_a_whole_list_of_messages_is_parsed(talk, write):
    assert conversation_in(write(talk).lstrip()) == talk


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TALK)[:-1],
        json.dumps(TALK)[:30],
        repr(TALK)[:-20],
        json.dumps(TALK[1]),
        repr(TALK[1]),
        json.dumps({"messages": TALK}),
        json.dumps({"messages": TALK})[:-5],
        json.dumps({"conversations": [{"from": "human", "value": "Hi"}]}),
        json.dumps([{"from": "human", "value": "Hi"}]),
        json.dumps([{"role": "human", "content": "Hi"}]),
        json.dumps([*TALK, "and"]),
        "\n".join(map(json.dumps, TALK)),
        "[{'content': 'Hi', 'role': 'user'}\n {'content': 'Ho', 'role': 'assistant'}]",  # an array of numpy
        json.dumps(json.dumps(TALK))[:-9],
        "\n".join(map(json.dumps, TALK))[:-9],
        repr(tuple(TALK)),
        f"array({TALK!r}, dtype=object)",
        json.dumps([TALK]),
        json.dumps({"input": TALK}),
        json.dumps({"model": "m", "messages": TALK}),
        json.dumps({"data": {"messages": TALK}}),
        json.dumps([{"role": "user", "text": "Hi"}]),
        json.dumps([{"Role": "User", "Content": "Hi"}]),
        json.dumps([{"role": "user", "parts": [{"text": "Hi"}]}]),
        json.dumps({"contents": [{"role": "model", "parts": [{"text": "Hi"}]}]}),
        json.dumps({"contents": [{"role": "model", "parts": [{"text": "Hi"}]}]})[:-5],
        json.dumps([{"role": "user", "content": "Hi"}, {"role": "ipython", "content": "4"}]),
    ],
)
def test_what_begins_like_a_conversation_is_refused(text):
    with pytest.raises(FindingError, match=r"prompt 3 is a text that begins like a conversation and is not a whole"):
        conversation_in(text, "prompt 3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{}",
        "[1, 2, 3]",
        '"quoted"',
        "[INST] Hi [/INST]",
        '{"name": "Bob", "role": "admin"}',
        '[{"name": "Bob", "role": "admin"}]',
        '{"content": "a page", "title": "A"}',
        '{"question": "two + two?", "role',
        json.dumps({"items": TALK[0]["content"]}),
        f"{json.dumps(TALK)}\nSummarise this conversation.",
        f"{TALK}\nSummarise this conversation.",
        f"What does {json.dumps(TALK)} say?",
        f"{json.dumps(TALK)}\nAnswer with [yes] or [no]: is this {{polite}}?",
        f"{json.dumps({'model': 'm', 'messages': TALK})}\n\nIs this request valid JSON?",
        f"{json.dumps(TALK[1])}\nWhat does this object mean?",
        "\n".join([*map(json.dumps, TALK), "Continue."]),
        f"{json.dumps(json.dumps(TALK))}\nWhich encoding is this?",
        "[{'role': 'user', 'content': prompt}]\n# call the API with these messages\n",
        '[{"role": "user", "content": line} for line in lines]',
        '{"content": "a", "user": {"role": "user"}} // find the bug',
        '{"role": "user", "permissions": ["read"]}\nMay this user write?',
        '{"role": "user", "permissions": ["read"]}\n{"role": "admin", "permissions": ["read", "write"]}',
        '[{"role": "user", "permissions": ["read"]}, {"role": "admin"}]',
        '[{"role": "banner", "content": "Sale!"}, {"role": "footer", "content": "Imprint"}]',
        '[{"role": "banner", "content": "Sale!"}]\nTranslate to French.',
        '[{"content": "great film"}, {"content": "bad film"}]',
        '[{"content": "great film"}, {"content": "bad film"}]\nClassify each.',
        '[{"content": "a paragraph", "tag": "p"}, {"content": "cut',
        '{"from": "Oslo", "to": "Rome"}\nHow far is it?',
        '[{"from": "EUR", "value": 3}, {"from": "USD", "value": 4}]',
        '[{"from": "a@b.c", "value": "x"}]',
        '{"messages": ["hello", "bye"]}\nTranslate.',
        '{"prompt": ["a", "b"]}\nPick one.',
        '{"conversation": [1, 2, 3]}',
        '"Hello," she said. [{"role": "user", "content": "Hi"}]',
        "[" * 10_000,
        '{"a":' * 10_000,
    ],
)
def test_ordinary_texts_stay_as_they_are(text):
    assert conversation_in(text) is None
