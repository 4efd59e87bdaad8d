"""A headless Chromium, and every kind of page that the commands write."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdistill import ByteVocab
from crossdistill.report.arena.page import write_arena_page
from crossdistill.report.html import write_report
from tests.cli.harness import run
from tests.eval.comparison.factory import entry, verdicts, write_evaluation, write_training
from tests.models import student_tokenizer, teacher_tokenizer
from tests.report.arena.content import large
from tests.report.cost.folders import evaluation, opd_run, sft_run
from tests.report.views import view_of
from tests.snippets import ROOT
from tools.chromium import chromium

ASSETS = ROOT / "crossdistill" / "demo" / "assets"
TEXT = "One hundred and twenty naïve café 日本語 tokens, 1,234,567 of them: " + "a-very-long-word-" * 12 + "\n"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> page."""
    folder = tmp_path_factory.mktemp("pages")
    writers = {
        "report": _report,
        "inspection": _inspection,
        "alignment": _alignment,
        "comparison": _comparison,
        "cost": _cost,
        "arena": _arena,
    }
    pages = {name: folder / f"{name}.html" for name in writers}
    for name, write in writers.items():
        write(pages[name])
    return pages


def _report(page: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": step, "loss": 1 / step, "teacher_gap": 2 / step, "accuracy": 1 - 1 / step, "coverage": 0.99}
        | {"teacher_gap/digits": 1 / step, "teacher_gap/white_space": 0.2, "teacher_gap/rest": 0.1}
        | {"share/digits": 0.02, "share/white_space": 0.02 + step / 1e4, "entropy": 0.5, "sampled_entropy": 0.5}
        for step in range(1, 100)
    ]
    rows += [{"step": step, "eval_teacher_gap": 2 / step, "eval_teacher_gap_se": 0.01} for step in (33, 66, 99)]
    curve = [
        {"step": step, "mean": 0.9 * step / 99, "ci": [0.8 * step / 99, step / 99], "n": 400} for step in (0, 50, 99)
    ]
    metrics = {
        "before": {"mean": 0.25, "ci": [0.2, 0.3], "n": 400},
        "after": {"mean": 0.5, "ci": [0.45, 0.55], "n": 400},
    }
    record = {
        **{"student": "an-organisation/a-student-with-a-long-name-135m-instruct", "teacher": "another/teacher"},
        **{"objective": "dpca", "seed": 17, "seconds": 3725.0, "metrics": metrics, "metric": "accuracy"},
        "tokens": {"student_rollout": 123456789},
        "flops": {"student_rollout": 3420000000000000, "total": 3420000000000000},
        "coverage": {
            **{"sampled_bytes": 100000, "supervised_bytes": 89000},
            "dropped": {"special_token": 10000, "teacher_context": 999, "unencodable": 1},
        },
        "accuracy": {"a-task-with-a-long-name": curve, "gsm8k": curve},
        "device": {"device": "a GPU with a long name, 80 GiB", "processes": 8, "mixed_precision": "bf16"},
        "arguments": {
            "given": {"dataset": "an-organisation/a-data-set-with-a-long-name", "train.learning_rate": 1e-4},
            "defaults": {f"train.a_setting_with_a_long_name_{number}": None for number in range(20)},
            "library_defaults": {"train.lr_scheduler_kwargs": {"a_key_with_a_long_name": "x" * 300}},
        },
        "findings": [{"kind": "some", "severity": "warning", "message": "a warning of some length. " * 6}],
        "versions": {"torch": "2.13.0"},
    }
    vocabs = ByteVocab.from_tokenizer(student_tokenizer()), ByteVocab.from_tokenizer(teacher_tokenizer())
    write_report(page, record, rows, [view_of("120 is... the sum of 60 and 60. " * 8, *vocabs, prompt="What? " * 40)])


def _inspection(page: Path) -> None:
    assert run("inspect", str(ASSETS / "student"), str(ASSETS / "teacher"), "--html", str(page)).code == 0


def _alignment(page: Path) -> None:
    rows = page.with_suffix(".jsonl")
    rows.write_text("".join(json.dumps({"response": TEXT * count}) + "\n" for count in (1, 2, 3)))
    models = (str(ASSETS / "student"), str(ASSETS / "teacher"))
    assert run("align", *models, "--responses", str(rows), "--html", str(page)).code == 0


def _cost(page: Path) -> None:
    folder = page.parent / "costs"
    names = []
    for name, make, data_points, accuracy in (
        ("sft-on-one-thousand-examples", sft_run, 1_000, 0.3),
        ("sft-on-four-thousand-examples", sft_run, 4_000, 0.4),
        ("a-distillation-with-a-long-name", opd_run, 640, 0.55),
    ):
        (folder / name / "model").mkdir(parents=True)
        trained = make(folder / name, data_points)
        results = verdicts(accuracy, 200)
        names += [trained, evaluation(folder / f"eval-{name}", str(trained / "model"), results)]
    result = run("report", *map(str, names), "--html", str(page), "--quiet")
    assert (result.code, result.out) == (0, ""), result.err


def _arena(page: Path) -> None:
    write_arena_page(page, large())


def _comparison(page: Path) -> None:
    runs = page.parent / "runs"
    luck = [0.3, 0.5, 0.62, 0.7]
    for seed in range(3):
        by_step = {10 * at: verdicts(accuracy + 0.02 * seed, 200) for at, accuracy in enumerate(luck)}
        write_training(runs / f"a-method-with-a-long-name-seed{seed}", by_step, seed=seed)
    write_training(runs / "gold", {10 * at: verdicts(0.3 + 0.01 * at, 200) for at in range(4)}, objective="gold")
    write_evaluation(runs / "sft", {"sums": entry(verdicts(0.33, 200, seed=3))})
    teacher = write_evaluation(page.parent / "teacher", {"sums": entry(verdicts(0.85, 200))})
    names = sorted(map(str, runs.iterdir()))
    result = run("compare", *names, "--teacher", str(teacher), "--reach", "0.5", "--html", str(page), "--quiet")
    assert (result.code, result.out) == (0, ""), result.err
