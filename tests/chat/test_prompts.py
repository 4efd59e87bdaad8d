"""Prompts of any form, read in one place."""

import numpy as np
import pytest

from crossdistill.chat import render_prompt
from crossdistill.chat.prompts import as_prompt, with_prompt
from crossdistill.findings import FindingError
from tests.chat import templates as t

USER = {"role": "user", "content": "two + two?"}


def call(**arguments):
    return {"type": "function", "function": {"name": "add", "arguments": arguments}}


@pytest.mark.parametrize(
    "empty",
    [
        {"tool_calls": []},
        {"tool_calls": None, "function_call": None},
        {"name": ""},
        {"refusal": None, "audio": None, "annotations": []},
        {"reasoning_content": ""},
        {"tool_call_id": None},
    ],
)
def test_empty_keys_are_left_out(empty):
    assert as_prompt([{**empty, **USER, **empty}]) == [USER]


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"role": "user", "content": None}, {"role": "user", "content": []}]
)
def test_no_content_is_an_empty_text(message):
    assert as_prompt([message]) == [{"role": "user", "content": ""}]


def test_values_that_are_false_stay():
    assert as_prompt([{**USER, "weight": 0, "train": False}]) == [{**USER, "weight": 0, "train": False}]


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "two + ", "image": None}, {"type": "text", "text": "two?"}]
    assert as_prompt([{"role": "user", "content": parts}]) == [USER]


def test_the_nulls_of_arrow_are_left_out():
    rows = [[USER, {"role": "assistant", "content": "", "tool_calls": [one]}] for one in (call(a=1), call(city="Oslo"))]
    rows.append([USER, {"role": "assistant", "content": "", "tool_calls": [call(where={"x": 1, "list": [1, None]})]}])
    datasets = pytest.importorskip("datasets")
    stored = datasets.Dataset.from_list([{"prompt": row} for row in rows])
    assert stored[0]["prompt"][1]["tool_calls"][0]["function"]["arguments"] != {"a": 1}  # the reason for all this
    assert [as_prompt(row["prompt"]) for row in stored] == rows


@pytest.mark.parametrize("arguments", [None, "", {}])
def test_a_call_without_arguments_has_empty_ones(arguments):
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": arguments}}]}
    (found,) = as_prompt([message])
    assert found["tool_calls"] == [{"function": {"name": "now", "arguments": {}}}]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"a": null, "b": [1]}', {"b": [1]}),
        ("", {}),
        ("{}", {}),
        ('"text"', '"text"'),
        ("{cut", "{cut"),
        ({"a": '{"b": 1}'}, {"a": '{"b": 1}'}),
    ],
)
def test_arguments_as_json_text_are_an_object(written, read):
    call = {"function": {"name": "add", "arguments": written}}
    assert as_prompt([{"role": "assistant", "tool_calls": [call]}])[0]["tool_calls"] == [
        {"function": {"name": "add", "arguments": read}}
    ]


def test_tool_calls_as_json_text_are_parsed():
    text = '[{"function": {"name": "add", "arguments": {"a": 1}}}]'
    assert as_prompt([{"role": "assistant", "tool_calls": text}])[0]["tool_calls"][0]["function"]["name"] == "add"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {"messages": [USER]},
        ["two + two?"],
        [{"content": "x"}],
        [{"role": "user", "content": 4}],
        [{"role": "user", "content": [{"type": "image"}]}],
        [{"role": "assistant", "tool_calls": "add(1)"}],
        [{"role": "assistant", "tool_calls": ["add"]}],
        np.array([1]),
    ],
)
def test_what_is_no_prompt(value):
    with pytest.raises(FindingError, match=r"prompt 4 is .*: a prompt must be a text or a list of messages"):
        as_prompt(value, "prompt 4")


@pytest.mark.parametrize("value", ["two", [USER, {**USER, "name": None}], '[{"role": "user", "content": null}]'])
def test_reading_twice_changes_nothing(value):
    once = as_prompt(value)
    assert as_prompt(once) == once
    assert with_prompt({"prompt": value, "teacher": "a"}) == {"prompt": once, "teacher": "a"}


def test_rendering_reads_every_form():
    made = t.with_template(t.CHATML)
    plain = render_prompt(made, [USER])
    assert render_prompt(made, f"{[USER]}") == render_prompt(made, [{**USER, "tool_calls": []}]) == plain
    assert t.text_of(made, render_prompt(made, [{"role": "user", "content": None}])).startswith(
        "<|im_start|>user\n<|im_end|>"
    )
