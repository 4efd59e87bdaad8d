"""The real lm-eval and evalscope on tiny local tasks, each in the environment that `make test-harness` makes."""

import json
import os
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from crossdistill.demo.run import asset
from crossdistill.demo.sums import Sums
from crossdistill.demo.task import problems
from crossdistill.eval.task import TaskOptions
from tests.cli.harness import run
from tests.runs.adapters import save_adapter

pytestmark = pytest.mark.harness

NUM_PROBLEMS = 24
SUMS = """
task: crossdistill_sums
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 48, do_sample: false}}
filter_list:
  - name: last
    filter:
      - {{function: regex, regex_pattern: "^.* is ([^\\n]*)$", group_select: -1}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""


def python(variable: str) -> str:
    named = os.environ.get(variable)
    assert named, f"set {variable}, as `make test-harness` does"
    return named


def evaluated(model: str, output: Path) -> None:
    """Our own evaluation of a model on the sums, greedily."""
    named = ("--task", "crossdistill.demo.sums:Sums", "--limit", str(NUM_PROBLEMS))
    result = run("eval", model, *named, "--device", "cpu", "--dtype", "float32", "-o", str(output))
    assert result.code == 0, result.err


def evaluated_by_lm_eval(model: str, folder: Path, output: Path) -> None:
    """That of lm-eval on the same sums."""
    asked = Sums().problems(TaskOptions(limit=NUM_PROBLEMS))
    lines = [json.dumps({"prompt": one.prompt[0]["content"], "answer": one.reference}) + "\n" for one in asked]
    (folder / "rows.jsonl").write_text("".join(lines))
    (folder / "sums.yaml").write_text(SUMS.format(rows=folder / "rows.jsonl"))
    result = run(
        *("eval", model, "--harness", "lm-eval", "--task", "crossdistill_sums", "--output", str(output)),
        *("--device", "cpu", "--dtype", "float32", "--harness-python", python("LM_EVAL_PYTHON")),
        *("--harness-args", f"--include_path {folder} --apply_chat_template"),
    )
    assert result.code == 0, result.err


def of_ours(output: Path) -> dict[str, Any]:
    metric: dict[str, Any] = json.loads((output / "eval.json").read_text())["tasks"]["sums"]["metrics"]["avg@k"]
    return metric


def of_lm_eval(output: Path) -> dict[str, Any]:
    found = json.loads((output / "eval.json").read_text())["harness"]["lm-eval"]["crossdistill_sums"]
    assert found["version"].startswith("0.4.")
    metric: dict[str, Any] = found["metrics"]["exact_match,last"]
    return metric


def test_lm_eval_finds_what_our_own_evaluation_finds(tmp_path: Path) -> None:
    """The same checkpoint on the same sums: as many are right, out of one file."""
    model, output = str(asset("student")), tmp_path / "evaluation"
    evaluated(model, output)
    evaluated_by_lm_eval(model, tmp_path, output)
    metric = of_lm_eval(output)
    assert metric["mean"] == pytest.approx(of_ours(output)["mean"])
    assert 0 < metric["mean"] < 1
    assert metric["n"] == NUM_PROBLEMS


def test_lm_eval_reads_what_is_exported(tmp_path: Path) -> None:
    """An adapter, merged: as many sums are right as our own evaluation of the adapter finds."""
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    save_adapter(str(asset("student")), adapter, scale=0.01, target_modules=["q_proj", "v_proj"])
    exported = run("export", str(adapter), "--merge", "--output", str(merged))
    assert exported.code == 0, exported.err
    evaluated(str(adapter), tmp_path / "ours")
    evaluated_by_lm_eval(str(merged), tmp_path, tmp_path / "theirs")
    metric = of_lm_eval(tmp_path / "theirs")
    print(f"\nmerged: {metric['mean']:.3f} by lm-eval, {of_ours(tmp_path / 'ours')['mean']:.3f} by our own evaluation")
    assert metric["mean"] == pytest.approx(of_ours(tmp_path / "ours")["mean"])
    assert 0 < metric["mean"] < 1


def test_evalscope_reports_the_mean_of_its_own_verdicts(tmp_path: Path) -> None:
    questions = tmp_path / "questions"
    questions.mkdir()
    rows = [f"{number},{one.prompt},{one.answer},zero,A" for number, one in enumerate(problems("test", 4, seed=1))]
    (questions / "sums_val.csv").write_text("\n".join(["id,question,A,B,answer", *rows]) + "\n")
    options = json.dumps({"general_mcq": {"local_path": str(questions), "subset_list": ["sums"]}})
    settings = json.dumps({"max_tokens": 16, "do_sample": False})
    output = tmp_path / "evaluation"
    arguments = f"--dataset-args '{options}' --generation-config '{settings}'"
    result = run(
        *("eval", str(asset("student")), "--harness", "evalscope", "--task", "general_mcq", "-o", str(output)),
        *("--device", "cpu", "--dtype", "float32", "--trust-remote-code", "--harness-args", arguments),
        *("--harness-python", python("EVALSCOPE_PYTHON")),
    )
    assert result.code == 0, result.err
    (found,) = json.loads((output / "eval.json").read_text())["harness"]["evalscope"].values()
    (metric,) = found["metrics"].values()
    (reviews,) = (output / "harness" / "evalscope-1" / "reviews").rglob("*.jsonl")
    scores = [
        json.loads(line)["sample_score"]["score"]["value"]["accuracy"] for line in reviews.read_text().splitlines()
    ]
    assert (metric["mean"], metric["n"]) == (pytest.approx(fmean(scores)), 4)
