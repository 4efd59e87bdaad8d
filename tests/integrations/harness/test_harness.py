"""``crossdistill eval --harness`` with stand-ins for the harnesses; tests/harness runs the real ones."""

import json
import sys

import pytest

from tests.cli.harness import run
from tests.integrations.harness.stand_in import write_packages

MODEL = "an/organisations-model"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(write_packages(tmp_path / "packages")))


@pytest.fixture
def evaluate(output):
    def evaluate(*arguments, harness="lm-eval", model=MODEL):
        return run("eval", model, "--harness", harness, "--output", str(output), *arguments)

    return evaluate


def results(output):
    return json.loads((output / "eval.json").read_text())


def seen(output, harness, number=1):
    (path,) = (output / "harness" / f"{harness}-{number}").rglob("*.json")
    return json.loads(path.read_text())["seen"]


def test_lm_eval(installed, evaluate, output):
    arguments = ("--task", "gsm8k", "--task", "arc_easy", "--limit", "5", "--device", "cpu", "--dtype", "float32")
    result = evaluate(*arguments, "--harness-args", "--num_fewshot '3'")
    assert result.code == 0, result.err
    assert "exact_match,strict-match" in result.out
    assert "a warning of the harness" not in result.out + result.err
    assert "a warning of the harness" in (output / "harness" / "lm-eval-1" / "log.txt").read_text()
    record = results(output)
    assert (record["kind"], record["model"], record["tasks"]) == ("evaluation", MODEL, {})
    assert set(record["harness"]["lm-eval"]) == {"gsm8k", "arc_easy"}
    entry = record["harness"]["lm-eval"]["gsm8k"]
    assert entry["metrics"] == {
        "exact_match,strict-match": {"mean": 0.25, "stderr": 0.125, "n": 5},
        "bleu,none": {"mean": 3.5, "stderr": None, "n": 5},
    }
    assert entry["version"] == "0.4.99"
    assert f"{sys.executable} -m lm_eval run --model hf" in entry["command"]
    told = seen(output, "lm-eval")
    wanted = {"model_args": f"pretrained={MODEL},dtype=float32", "device": "cpu", "num_fewshot": "3", "seed": "0"}
    assert {name: told[name] for name in wanted} == wanted
    assert not told["trust_remote_code"]


def test_evalscope(installed, evaluate, output):
    arguments = ("--task", "gsm8k", "--device", "cpu", "--trust-remote-code", "--json")
    result = evaluate(*arguments, "--harness-args", "--dataset-hub huggingface", harness="evalscope")
    assert result.code == 0, result.err
    assert json.loads(result.out) == results(output)
    entry = results(output)["harness"]["evalscope"]["gsm8k"]
    assert entry["metrics"] == {"accuracy,mean": {"mean": 0.625, "stderr": None, "n": 8}}
    assert entry["version"] == "1.99"
    told = seen(output, "evalscope")
    assert told["dataset_hub"] == "huggingface"
    assert json.loads(told["model_args"]) == {"precision": "auto", "device_map": "cpu"}


def test_results_are_added_to_what_the_folder_has(installed, evaluate, output):
    assert evaluate("--task", "gsm8k").code == 0
    assert evaluate("--task", "arc_easy", "--limit", "3", "--quiet").out == ""
    assert evaluate("--task", "gsm8k", "--trust-remote-code", harness="evalscope").code == 0
    found = results(output)["harness"]
    assert {name: set(tasks) for name, tasks in found.items()} == {
        "lm-eval": {"gsm8k", "arc_easy"},
        "evalscope": {"gsm8k"},
    }
    assert found["lm-eval"]["arc_easy"]["metrics"]["bleu,none"]["n"] == 3
    assert "--limit" not in found["lm-eval"]["gsm8k"]["command"]
    assert seen(output, "lm-eval", 2)["limit"] == "3"


def test_an_evaluation_of_the_same_model_stays(installed, evaluate, output):
    output.mkdir()
    tasks = {"sums": {"sampling": {"k": 1}}}
    for name in ("eval.json", "config.json"):
        (output / name).write_text(json.dumps({"kind": "evaluation", "model": MODEL, "tasks": tasks}))
    assert evaluate("--task", "gsm8k").code == 0
    assert results(output)["tasks"] == tasks
    message = evaluate("--task", "gsm8k", model="another/model").message
    assert message == f"the evaluation in {output} is of the model {MODEL}, not another/model: name a new folder."


def test_an_adapter(installed, evaluate, output, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "a/base"}))
    assert evaluate("--task", "gsm8k", model=str(adapter)).code == 0
    assert seen(output, "lm-eval")["model_args"] == f"pretrained=a/base,peft={adapter},dtype=auto"
    message = evaluate("--task", "gsm8k", "--trust-remote-code", harness="evalscope", model=str(adapter)).message
    assert message.startswith("evalscope evaluates no adapters")


# --- bad input


def test_a_harness_that_is_not_installed(evaluate, output, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    message = evaluate("--task", "gsm8k", harness="evalscope", model=MODEL).message
    assert message == (
        f"evalscope is not installed for {sys.executable}: pip install 'crossdistill[evalscope]', or name the Python "
        "of an environment that has it with --harness-python."
    )
    assert not output.exists()


def test_a_python_that_is_none(evaluate):
    message = evaluate("--task", "gsm8k", "--harness-python", "/nowhere/python").message
    assert message == "--harness-python /nowhere/python cannot be run (No such file or directory): name a Python."


def test_a_harness_that_fails(installed, evaluate, output, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAILS", "1")
    message = evaluate("--task", "gsm8k").message
    log = output / "harness" / "lm-eval-1" / "log.txt"
    assert message == f"lm-eval failed: ValueError: no such task (exit code 1); its log is {log}."
    assert not (output / "eval.json").exists()
    monkeypatch.delenv("STAND_IN_FAILS")
    assert evaluate("--task", "gsm8k").code == 0


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (["--task", "gsm8k", "--k", "4"], {}, "--k does not reach lm-eval: leave it out, and say in --harness-args"),
        (["--task", "gsm8k", "--resume"], {}, "--resume does not reach lm-eval"),
        (["--task", "gsm8k", "--harness-args", "'open"], {}, "--harness-args cannot be split (No closing quotation)"),
        ([], {}, "name a task of lm-eval with --task"),
        (["--task", "gsm8k"], {"harness": "mine"}, "there is no harness 'mine': take lm-eval or evalscope."),
        (["--task", "gsm8k"], {"harness": "evalscope"}, "evalscope runs the code that a checkpoint brings along"),
        (["--task", "gsm8k"], {"model": "http://host:8000"}, "a harness loads the checkpoint itself"),
    ],
)
def test_what_is_refused(installed, evaluate, output, arguments, options, words):
    assert evaluate(*arguments, **options).message.startswith(words)
    assert not output.exists()


def test_a_comma_in_a_path(installed, evaluate, tmp_path):
    (tmp_path / "a,b").mkdir()
    assert "which has a comma: rename the folder" in evaluate("--task", "gsm8k", model=str(tmp_path / "a,b")).message
