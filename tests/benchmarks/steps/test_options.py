"""What the commands cannot do is told before a model is trained."""

import json
import warnings

import pytest
import typer

import benchmarks.steps.__main__ as command
from benchmarks.steps import scoring_pass
from crossdistill.demo.run import asset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of TRL, whose aligner is measured beside ours, that it is experimental
    from benchmarks import long_responses, long_step

GIVEN = {"methods": "dpca", "batch": 1, "new_tokens": 1, "steps": 1, "rounds": 1, "wall": False, "output": None}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "dpca,,gkd"}, "''"),
        ({"methods": "dpca,goldd"}, "'goldd'"),
        ({"student": "FOLDER"}, "FOLDER is not the folder of a model, which has a config.json"),
        ({"teacher": "FOLDER/none"}, "FOLDER/none is not the folder of a model, which has a config.json"),
        ({"output": "FOLDER"}, "--output is a file, and FOLDER is a folder"),
    ],
)
def test_steps(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.setattr(command, "steps_of", lambda *_: pytest.fail("something was trained"))
    folder = str(tmp_path)
    options = {name: value.replace("FOLDER", folder) for name, value in options.items()}
    if "output" in options:
        options["output"] = tmp_path
    with pytest.raises(typer.Exit) as ended:
        command.main(**{"student": asset("student"), "teacher": asset("teacher")} | GIVEN | options)
    assert ended.value.exit_code == 2
    assert said.replace("FOLDER", folder).replace(" ", "") in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("methods", ["gold,trl", "dpca,gkd"])
def test_steps_of_known_methods(methods):
    assert command.methods_of(methods) == methods.split(",")


@pytest.mark.parametrize("options", [["--steps", "3"], ["--rows", "0"], ["--output", "."]])
def test_scoring_pass(tmp_path, monkeypatch, capsys, options):
    monkeypatch.setattr("sys.argv", ["any", "--output", str(tmp_path / "figures.json"), *options])
    monkeypatch.setattr(scoring_pass, "trained", lambda *_: pytest.fail("something was trained"))
    with pytest.raises(SystemExit) as ended:
        scoring_pass.main()
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


class StoppedError(Exception):
    """By whoever runs it, in the second part."""


class Pool:
    """Measures nothing, and stops in the second part."""

    def __init__(self, _processes):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def apply(self, _function, arguments):
        [part] = arguments
        if part == list(long_step.PARTS)[1]:
            raise StoppedError
        return [{"part": part, "now": True}]


@pytest.fixture
def long(tmp_path, monkeypatch):
    """Runs ``--only long`` over committed figures, with a torch of some version."""
    file = tmp_path / "figures.json"
    rows = [{"part": part, "now": False} for part in long_step.PARTS]
    file.write_text(json.dumps({"torch": "2.0", "rows": [1, 2], "long": rows}))
    monkeypatch.setattr("sys.argv", ["any", "--output", str(file), "--only", "long"])
    monkeypatch.setattr(long_responses.multiprocessing, "get_context", lambda _: long_responses.multiprocessing)
    monkeypatch.setattr(long_responses.multiprocessing, "Pool", Pool)

    def run(version):
        monkeypatch.setattr(long_responses.torch, "__version__", version)
        long_responses.main()

    run.figures = lambda: json.loads(file.read_text())
    return run


def test_rows_stay_until_they_have_been_measured_again(long):
    with pytest.raises(StoppedError):
        long("2.0")
    found = long.figures()
    assert found["rows"] == [1, 2]
    assert [(row["part"], row["now"]) for row in found["long"]] == [
        (part, number == 0) for number, part in enumerate(long_step.PARTS)
    ]


def test_rows_of_another_version_are_not_mixed(long, capsys):
    before = long.figures()
    with pytest.raises(SystemExit):
        long("2.1")
    assert "(torch: 2.0 there, 2.1 now): leave --only out" in " ".join(capsys.readouterr().err.split())
    assert long.figures() == before
