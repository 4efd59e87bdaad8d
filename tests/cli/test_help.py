"""Every command documents itself and each of its options, and the lists of keys are complete."""

import re

import pytest
import typer

from crossdistill import __version__
from crossdistill.cli.app import app
from crossdistill.runs.config import RunConfig, SFTRunConfig, eval_task_fields, lora_fields, sft_fields, train_fields
from tests.cli.harness import run

COMMANDS = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_commands():
    assert {"demo", "align", "train", "sft", "doctor"} <= COMMANDS.keys()


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


@pytest.mark.parametrize(
    ("command", "model", "tables"),
    [
        ("train", RunConfig, {"train": train_fields, "lora": lora_fields, "eval_tasks.NAME": eval_task_fields}),
        ("sft", SFTRunConfig, {"train": sft_fields, "lora": lora_fields, "eval_tasks.NAME": eval_task_fields}),
    ],
)
def test_keys(command, model, tables):
    pytest.importorskip("trl")
    result = run(command, "--keys", columns=400)
    assert result.code == 0
    for name, field in model.model_fields.items():
        assert name in result.out
        assert field.description.split(":")[0] in result.out
    for table, read in tables.items():
        assert f"[{table}]" in result.out
        for name in read():
            assert re.search(rf"\b{name}\b", result.out), name
    if command == "train":
        assert "Optimisation steps on each batch of rollouts" in result.out


def test_version():
    assert __version__ in run("doctor").out
    assert run("--version").out == f"crossdistill {__version__}\n"
