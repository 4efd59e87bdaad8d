"""Commands in an installation without the extras: what works, and what is refused with the way out."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from crossdistill import InputError
from crossdistill.extras import EXTRAS, missing, require
from tests.models import Pair

HUB_NEEDS_HTTPX = version("huggingface_hub").startswith("1.")  # so that the core brings it
TRAIN, SERVED = EXTRAS["train"], EXTRAS["served"][HUB_NEEDS_HTTPX:]
# jinja2 is not blocked for commands that render chat templates: torch depends on it
ABSENT = (*TRAIN, *SERVED, "matplotlib")
PROGRAM = """
import sys
blocked, sys.argv[1:] = sys.argv[1].split(","), sys.argv[2:]
sys.modules.update(dict.fromkeys(blocked))
from crossdistill.cli import main
main()
"""


def run(*arguments: str, absent: tuple[str, ...] = ABSENT) -> subprocess.CompletedProcess[str]:
    """``crossdistill ARGUMENTS`` in a process of its own, in which some modules cannot be imported."""
    command = [sys.executable, "-c", PROGRAM, ",".join(absent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


def message(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.strip().removeprefix("error: ")


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same row in three files."""
    folder = tmp_path_factory.mktemp("responses")
    (folder / "rows.jsonl").write_text(json.dumps({"response": "12 + 30"}) + "\n")
    (folder / "rows.json").write_text(json.dumps([{"response": "12 + 30"}]))
    (folder / "rows.csv").write_text("response\n12 + 30\n")
    return folder


@pytest.mark.slow
def test_inspect_needs_no_extra(weightless: Pair) -> None:
    result = run("inspect", weightless.student, weightless.teacher)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usable")


@pytest.mark.slow
def test_align_needs_no_extra(weightless: Pair) -> None:
    result = run("align", weightless.student, weightless.teacher, "12 + 30")
    assert result.returncode == 0, result.stderr
    assert "chunks" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_responses_in_json_need_no_extra(weightless: Pair, responses: Path, name: str) -> None:
    result = run("align", weightless.student, weightless.teacher, "--responses", str(responses / name), "--json")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert "".join(chunk["text"] for chunk in json.loads(line)["chunks"]) == "12␣+␣30"


@pytest.mark.slow
def test_other_files_of_responses_need_datasets(weightless: Pair, responses: Path) -> None:
    path = responses / "rows.csv"
    found = message(run("align", weightless.student, weightless.teacher, "--responses", str(path)))
    assert found == f"reading {path} needs datasets, which is not installed: pip install 'crossdistill[train]'"


@pytest.mark.parametrize("command", ["align", pytest.param("inspect", marks=pytest.mark.slow)])
def test_a_page_needs_jinja2_and_says_so_first(command: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = message(run(command, "no-student", "no-teacher", "--html", str(page), absent=("jinja2",)))
    assert found == "an HTML page needs jinja2, which is not installed: pip install 'crossdistill[report]'"
    assert not page.exists()


@pytest.mark.parametrize(
    "command", ["train", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sft", "demo"))]
)
def test_runs_need_the_extra_train(command: str, tmp_path: Path) -> None:
    found = message(run(command, "--output", str(tmp_path / "output"), absent=TRAIN))
    assert found == "this command needs trl, which is not installed: pip install 'crossdistill[train]'"
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
def test_keys_of_a_run_file_need_the_extra_train() -> None:
    assert "needs trl" in message(run("train", "--keys", absent=TRAIN))


def test_a_server_needs_the_extra_served(weightless: Pair) -> None:
    url = ("--teacher", "http://127.0.0.1:9", "--teacher-tokenizer", weightless.teacher)
    found = message(run("doctor", *url))
    way_out = "which is not installed: pip install 'crossdistill[served]'"
    assert found == f"a teacher behind a server needs {SERVED[0]}, {way_out}"


@pytest.mark.slow
def test_doctor_lists_the_extras() -> None:
    result = run("doctor")
    assert result.returncode == 0, result.stderr
    shown = " ".join(result.stdout.replace("│", " ").split())
    assert "lacks trl, accelerate, peft, datasets" in shown
    assert "lacks matplotlib" in shown
    assert f"lacks {', '.join(SERVED)}" in shown


def test_a_missing_module_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdistill.extras.find_spec", lambda module: None if module == "tenacity" else module)
    assert {extra: missing(extra) for extra in EXTRAS if missing(extra)} == {"served": ["tenacity"]}
    require("train")
    require("served", "httpx")
    with pytest.raises(InputError, match=r"^a server needs tenacity, .*: pip install 'crossdistill\[served\]'$"):
        require("served", user="a server")


def test_a_comparison_needs_the_extra_eval(tmp_path: Path) -> None:
    found = message(run("compare", str(tmp_path), absent=("scipy",)))
    assert found == "this command needs scipy, which is not installed: pip install 'crossdistill[eval]'"


def test_the_demo_needs_the_extra_eval(tmp_path: Path) -> None:
    """Before it trains: it measures accuracies at the end."""
    found = message(run("demo", "--output", str(tmp_path / "demo"), absent=("scipy",)))
    assert found == "this command needs scipy, which is not installed: pip install 'crossdistill[eval]'"
    assert not (tmp_path / "demo").exists()
