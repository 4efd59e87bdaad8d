"""Every command line of the documentation is one: the command, its options and their values exist."""

import re
from typing import Any

import pytest
import typer

from crossdistill.cli.app import app
from tests.snippets import PAGES, Shown, mentions, walk

PROGRAM: Any = typer.main.get_command(app)
PLACEHOLDERS = {"GIB": "24"}
"""Words of a synopsis that stand for something else than a text."""
OUTPUT = re.compile(r"crossdistill [\d.]+ ")
"""What a command prints, which is no command line."""
LINES = [pytest.param(shown, id=f"{page}: {shown.text}"[:80]) for page in PAGES for shown in walk(page)]
LINES = [line for line in LINES if line.values[0].language == "command"]
MENTIONED = [
    pytest.param(text, id=f"{page}: {text}"[:80])
    for page in PAGES
    for text in dict.fromkeys(mentions(page))
    if not OUTPUT.match(text)
]


@pytest.mark.parametrize("shown", LINES)
def test_command_lines_can_be_parsed(shown: Shown) -> None:
    words = [PLACEHOLDERS.get(word, word) for word in shown.arguments]
    if words == ["--version"]:
        return
    PROGRAM.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("text", MENTIONED)
def test_commands_within_a_text_exist(text: str) -> None:
    """They may leave out what they need, but name no command and no option that is not there."""
    _, name, *words = text.replace("\\", "").split()
    if name.startswith("--"):
        assert name in _options(PROGRAM)
        return
    asked = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert asked <= _options(PROGRAM.commands[name])


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_there_are_commands() -> None:
    assert len(LINES) > 40
    assert len(MENTIONED) > 30
    assert {line.values[0].arguments[0] for line in LINES} >= {"train", "sft", "eval", "inspect", "align", "demo"}
