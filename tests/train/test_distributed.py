"""Two processes (gloo) compute what one process with twice the prompts does, and stop and go on together.

``accelerate launch --cpu --num_processes 2`` starts one process unless there is an MPI; ``--multi_gpu`` without a GPU
starts two with gloo.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models import MESSAGES, Pair

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SCRIPT = "tests.train.distributed_run"
ACCELERATE = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def launch(pair: Pair, output: Path, launcher: tuple[str, ...], batch: int) -> subprocess.Popen[str]:
    output.mkdir()
    (output / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in MESSAGES))
    environment = {
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", SCRIPT, pair.student, pair.teacher, str(output), str(batch)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def outcomes(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of one process and of two."""
    folder = tmp_path_factory.mktemp("distributed")
    processes = [launch(pair, folder / "one", (), 2), launch(pair, folder / "two", ACCELERATE, 1)]
    results = []
    for process, name in zip(processes, ("one", "two"), strict=True):
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors[-4000:]
        results.append({**json.loads((folder / name / "result.json").read_text()), "folder": folder / name})
    return results


def test_two_processes_compute_what_one_does(outcomes):
    one, two = outcomes
    assert (one["processes"], two["processes"]) == (1, 2)
    steps = [[entry for entry in outcome["history"] if "loss" in entry] for outcome in outcomes]
    assert len(steps[0]) == len(steps[1]) == 4
    for ours, theirs in zip(*steps, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        for name in ("teacher_gap", "teacher_gap_se", "coverage", "token_coverage", "stopped", "response_tokens"):
            assert ours.get(name, 0) == pytest.approx(theirs.get(name, 0), rel=1e-5), name
    losses = [step["loss"] for step in steps[0]]
    assert len(set(losses)) == len(losses)
    assert all(abs(step["ratio"] - 1) > 0.01 for step in steps[0][1::2])
    for weights in two["weights"]:
        assert weights == two["weights"][0]
        assert weights == pytest.approx(one["weights"][0], rel=1e-6)


def test_each_process_has_whole_groups(outcomes):
    one, two = (outcome["groups"] for outcome in outcomes)
    assert (len(one), len(two)) == (1, 2)
    for step in range(2):
        (whole, groups), *others = one[0][step], *(of_process[step] for of_process in two)
        assert groups == [0, 0, 1, 1]
        assert len(set(whole)) == 2
        assert [numbers for _, numbers in others] == [[0, 0], [0, 0]]
        assert [prompt for prompts, _ in others for prompt in prompts] == whole


def test_evaluation_is_the_same(outcomes):
    one, two = (next(entry for entry in outcome["history"] if "eval_loss" in entry) for outcome in outcomes)
    for name in ("eval_loss", "eval_teacher_gap", "eval_teacher_gap_se", "eval_abs_advantage", "eval_stopped"):
        assert one[name] == pytest.approx(two[name], rel=1e-4), name


@pytest.mark.parametrize("data", ["five rows", "five rows of a stream"])
def test_rows_that_processes_share_unevenly_count_once(outcomes, data):
    one, two = (outcome[data] for outcome in outcomes)
    for name in ("eval_loss", "eval_entropy", "eval_teacher_gap", "eval_teacher_gap_se", "eval_stopped"):
        assert one[name] == pytest.approx(two[name], rel=1e-4), name


def test_every_token_is_counted_once(outcomes):
    one, two = outcomes
    assert one["ledger"] == two["ledger"]
    assert one["ledger"]["coverage"]["supervised_bytes"] > 0
    saved = [json.loads((o["folder"] / "trained/checkpoint-4/usage.json").read_text()) for o in outcomes]
    assert saved[0]["tokens"] == saved[1]["tokens"] == one["ledger"]["tokens"]
    assert one["completions"] == two["completions"]


def test_a_teacher_that_one_process_loses_stops_all_after_a_checkpoint(outcomes):
    failure = outcomes[1]["failure"]
    assert failure["told"] == ["TeacherError: the teacher is gone.", "TeacherUnavailableError: the teacher is gone."]
    assert list(failure["checkpoints"]) == ["checkpoint-2"]
    assert {"rng_state_0.pth", "rng_state_1.pth", "trainer_state.json"} <= set(failure["checkpoints"]["checkpoint-2"])


def test_a_full_disk_of_one_process_stops_all_and_older_checkpoints_stay(outcomes):
    found = outcomes[1]["full disk"]
    assert found["told"] == ["no space is left on"] * 2
    assert found["checkpoints"] == ["checkpoint-1"]


def test_files_that_one_process_cannot_open_stop_all(outcomes):
    assert outcomes[1]["no file"] == ["a local teacher's states cannot wait in a file"] * 2


def test_a_bad_row_of_one_process_stops_all_after_a_checkpoint(outcomes):
    found = outcomes[1]["bad row"]
    assert found["told"] == ["row 3 of the training data cannot be used"] * 2
    assert found["checkpoints"] == ["checkpoint-1"]


def test_a_signal_to_one_process_stops_all_and_the_run_goes_on(outcomes):
    two = outcomes[1]
    assert two["interruption"] == "stopped by SIGTERM after step 1"
    run = json.loads((two["folder"] / "run" / "run.json").read_text())
    assert run["coverage"]["sampled_tokens"] > 0
    assert set(run["metrics"]) == {"before", "after"}
    assert (two["folder"] / "run" / "report.html").exists()
    assert (two["folder"] / "run" / "model" / "model.safetensors").exists()


def test_noise_in_one_process_stops_all(outcomes):
    assert outcomes[1]["noise"] == ["noise_in_training"] * 2


def test_log_probs_that_overflow_in_one_process_stop_all(outcomes):
    assert outcomes[1]["overflow"] == ["logits_not_finite"] * 2
