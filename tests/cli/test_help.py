"""Every command documents itself and each of its options, and the lists of keys are complete."""

import re

import pytest
import typer

from crossdistill import __version__
from crossdistill.arena.file import ARENA_FILE
from crossdistill.cli.app import app
from crossdistill.runs.keys import RUN_FILE, SFT_FILE
from tests.cli.harness import run

COMMANDS = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_commands():
    assert {"demo", "align", "train", "sft", "export", "doctor"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_documents_every_parameter(name):
    result = run(name, "--help")
    assert result.code == 0
    for parameter in COMMANDS[name].params:
        if parameter.name == "help":
            continue
        assert parameter.help, f"{name}: {parameter.name} has no help"
        shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.out).split())
        assert parameter.help.split()[0] in shown
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in shown
    assert COMMANDS[name].help.splitlines()[0].split()[0] in result.out


def test_help_of_the_program_names_every_command():
    result = run("--help")
    assert all(name in result.out for name in COMMANDS)


def test_no_command_shows_the_help():
    assert "Usage" in run().out + run().err


@pytest.mark.parametrize("option", [["--nope"], ["train", "--nope"], ["nope"]])
def test_unknown_options_and_commands(option):
    result = run(*option)
    assert result.code == 2
    assert "nope" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("command", "tables"), [("train", RUN_FILE), ("sft", SFT_FILE), ("arena", ARENA_FILE)])
def test_keys(command, tables):
    pytest.importorskip("trl")
    result = run(command, "--keys", columns=80)
    assert result.code == 0
    for table in tables:
        assert (f"[{table.path}]" if table.path else "at the top of the file") in result.out
        for key in table.keys:
            assert re.search(rf"^  {key.name}: ", result.out, flags=re.MULTILINE), key.name
    assert "Number of steps for a linear warmup" in result.out


def test_keys_about_a_word():
    pytest.importorskip("trl")
    result = run("train", "--keys", "CLIP_LOW", columns=200)
    assert "[objective_options] of dpca" in result.out
    assert "clip_low: float = 0.2" in result.out
    assert "[train]" not in result.out
    shown = [line.rstrip() for line in run("train", "--keys", "hub").out.splitlines()]
    assert shown[1:3] == ["  student: str  (must be given)", "      Student: a folder or a hub id."]
    assert "no key has 'xyzzy' in its name or meaning" in run("sft", "--keys", "xyzzy").message
    assert run("train", "run.toml", "--keys").out == run("train", "--keys").out


def test_version():
    assert __version__ in run("doctor").out
    assert run("--version").out == f"crossdistill {__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_paragraphs_of_the_help_are_not_broken_where_the_code_is(name):
    """typer keeps the line ends of all paragraphs but the first, which look ragged in another width."""
    assert all("\n" not in paragraph for paragraph in COMMANDS[name].help.split("\n\n"))
