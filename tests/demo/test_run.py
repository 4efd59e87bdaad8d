"""A small demo: its steps and files, and that it needs no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from crossdistill import ByteVocab, InputError
from crossdistill.chat import render_prompt
from crossdistill.demo.run import TEACHERS, DemoSettings, as_conversation, asset, message, run_demo
from crossdistill.demo.task import Problem
from crossdistill.runs.data import load_rows
from crossdistill.runs.sft_examples import ExampleMaker

SMALL = DemoSettings(steps=2, batch_size=8, num_test_problems=16, num_prompts=32)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo in a separate process, in which looking up a host is an error."""
    output = tmp_path_factory.mktemp("demo") / "out"
    script = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event == 'socket.getaddrinfo': raise SystemExit(f'looked up {args[0]}')\n"
        "sys.addaudithook(refuse)\n"
        "from pathlib import Path\n"
        "import crossdistill.cli.commands.demo as cli\n"
        "import crossdistill.demo.run as run\n"
        f"run.DEFAULTS = run.{SMALL!r}\n"
        f"cli.command(Path({str(output)!r}), seed=1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    assert "exact match on 16 held-out problems" in result.stdout
    assert "the student during distillation" in result.stdout
    return output


@pytest.mark.slow
def test_what_it_writes(demo):
    run = json.loads((demo / "run.json").read_text())
    assert set(run["metrics"]) == {"before", "after", "control", "teacher"}
    assert all(entry["n"] == 16 for entry in run["metrics"].values())
    assert run["coverage"]["sampled_bytes"] == run["coverage"]["supervised_bytes"] > 0
    assert run["seed"] == 1
    page = (demo / "report.html").read_text()
    assert "held-out problems" in page
    assert "Accuracy on sums" in page
    assert "SFT on correct examples with carries" in page
    assert len((demo / "samples.jsonl").read_text().splitlines()) == 3  # for `crossdistill align --run`


@pytest.mark.slow
def test_the_curve_begins_and_ends_with_its_figures(demo):
    run = json.loads((demo / "run.json").read_text())
    curve = run["accuracy"]["sums"]
    assert [point["step"] for point in curve] == [0, 1, 2]
    for name, point in {"before": curve[0], "after": curve[-1]}.items():
        assert run["metrics"][name] == {key: point[key] for key in ("mean", "ci", "n")}
    for folder in (demo / "opd" / "evaluations" / "step-000002", demo / "evaluations" / "control"):
        assert len((folder / "samples" / "sums.jsonl").read_text().splitlines()) == 16


@pytest.mark.slow
def test_the_control_costs_as_many_student_tokens(demo):
    run = json.loads((demo / "run.json").read_text())
    distilled, control = run["tokens"]["student_step"], run["control"]["tokens"]["sft_step"]
    assert abs(control / distilled - 1) < 0.3  # whole batches: two of eight responses here


def test_the_control_renders_prompts_as_the_test_does():
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    row = load_rows(asset("sft.jsonl"))[0]
    conversation = as_conversation(row)["prompt"]
    assert conversation == message(Problem(row["prompt"], "", ""))
    maker = ExampleMaker(tokenizer, ByteVocab.from_tokenizer(tokenizer))
    example = maker.of_completion(conversation, row["completion"])
    prompt = render_prompt(tokenizer, conversation)
    assert example["input_ids"][: len(prompt)] == prompt
    assert tokenizer.decode(prompt) == f"<|user|>{row['prompt']}<|end|><|assistant|>"


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds files, perhaps of another demo: name a new folder"):
        run_demo(tmp_path, settings=SMALL)


@pytest.mark.slow
def test_two_teachers_share_the_problems(tmp_path):
    run = run_demo(tmp_path / "out", settings=SMALL, two_teachers=True)
    assert set(run["metrics"]) == {"before", "after", "control", "teacher", "other_teacher"}
    assert set(run["config"]["teachers"]) == set(TEACHERS)
    assert run["coverage"]["sampled_bytes"] == run["coverage"]["supervised_bytes"] > 0
    one, other = (AutoTokenizer.from_pretrained(asset(name)) for name in TEACHERS)
    text = "four hundred and one"
    assert one.tokenize(text) != other.tokenize(text)
