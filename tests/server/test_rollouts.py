"""Real vLLM samples, behind a server and in the process: with the weights of every step, at the run's settings."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from peft import LoraConfig

from crossdistill.demo.run import asset
from crossdistill.errors import InputError, RolloutServerError
from crossdistill.train.monitor.sampler_watch import KIND
from tests.models import Pair
from tests.server.conftest import ROOT, serving
from tests.server.demo_runs import BATCH, demo_trainer, ends, stop_sending_weights
from tests.train.harness import RecordingTrainer, sampled_logprobs

pytestmark = pytest.mark.server

EXACT = 1e-5
"""Drift in nats a token if both compute in float32."""
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "up_proj", "down_proj"]}
COMMON_TOKEN = 271
"""A token that the demo's student writes in most responses, not a stop of its own."""


def assert_in_step(steps: list[dict[str, float]], number: int, drift: float) -> None:
    """vLLM had the weights of each of the steps."""
    assert len(steps) == number
    assert max(abs(step["ratio"] - 1) for step in steps) < 0.01
    assert max(step["policy_drift"] for step in steps) < drift


# ---- behind a server ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(untied: Pair, sampler: str, output: Path, tmp_path: Path) -> Any:
    """Makes trainers whose rollouts come from the server."""
    folder = tmp_path / "weights"

    def make(**options: Any) -> RecordingTrainer:
        settings = {"vllm_mode": "server", "vllm_server_base_url": sampler, "vllm_weights_folder": str(folder)}
        return demo_trainer(untied, output, **{**settings, **options})

    yield make
    assert list(folder.iterdir()) == []


def test_a_server_samples_with_the_weights_of_every_step(served):
    trainer = served()
    trainer.train()
    assert_in_step(trainer.steps, 20, EXACT)
    assert trainer.watchdog.warnings == []
    assert trainer.steps[-1]["teacher_gap"] < trainer.steps[0]["teacher_gap"]
    moved = np.mean([float((before - after).abs().mean()) for before, after in two_ends(trainer)])
    assert moved > 1e-4


def two_ends(trainer: RecordingTrainer) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    first, last = trainer.weights[0], trainer.weights[-1]
    return ((first[name], last[name]) for name in first)


def test_a_server_that_keeps_its_weights_is_told_by_the_run(served):
    trainer = served(max_steps=8)
    stop_sending_weights_after_the_first(trainer)
    trainer.train()
    ((step, kind),) = [(warning.step, warning.kind) for warning in trainer.watchdog.warnings]
    assert (step, kind) == (1, KIND)
    assert trainer.steps[0]["policy_drift"] < EXACT
    assert trainer.steps[-1]["policy_drift"] > 0.01


def test_a_single_left_out_sync_is_told_at_a_learning_rate_of_practice(served):
    """Its drift would not tell it."""
    trainer = served(max_steps=6, learning_rate=1e-6)
    engine = trainer.vllm_generation._generation
    sync = engine.sync_weights
    engine.sync_weights = lambda: None if trainer.state.global_step == 3 else sync()
    trainer.train()
    assert [(warning.step, warning.kind) for warning in trainer.watchdog.warnings] == [(3, KIND)]
    assert max(step["policy_drift"] for step in trainer.steps) < 0.002


def stop_sending_weights_after_the_first(trainer: RecordingTrainer) -> None:
    trainer.vllm_generation.sync_weights()  # the server has those of an earlier test
    stop_sending_weights(trainer)


def test_a_server_gets_adapters_merged(served):
    trainer = served(max_steps=8, learning_rate=3e-3, peft_config=LoraConfig(task_type="CAUSAL_LM", **LORA))
    trainer.train()
    assert_in_step(trainer.steps, 8, EXACT)
    assert trainer.steps[-1]["teacher_gap"] < trainer.steps[0]["teacher_gap"]


def test_stops_settings_and_log_probabilities_of_a_server(served):
    """Its log-probabilities are those of the distribution that was sampled, at the temperature of the run."""
    trainer = served(max_steps=1, temperature=0.7, max_completion_length=4, stops=[COMMON_TOKEN])
    trainer.train()
    model = trainer.model.train(False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(trainer.weights[0][name])
        for prompt, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
            expected = sampled_logprobs(model, prompt, item.response.ids, temperature=0.7)
            np.testing.assert_allclose(item.student_logprobs, expected, atol=1e-4)
    assert_stopped(ends(trainer), [len(item.response.ids) for item in trainer.rollouts[0]], 4)


def assert_stopped(places: list[tuple[int, ...]], lengths: list[int], budget: int) -> None:
    """Each response ends at its first stop, or at the budget."""
    assert len(places) == BATCH
    assert set(places) <= {(0,), ()}
    assert places.count((0,)) > BATCH / 2
    assert all(length == budget for length, place in zip(lengths, places, strict=True) if not place)


def test_the_head_that_a_cpu_would_not_reload_is_refused(served, sampler, output):
    with pytest.raises(InputError, match="packs the student's head apart from the embeddings"):
        demo_trainer(
            Pair(asset("student"), asset("teacher")),
            output,
            vllm_mode="server",
            vllm_server_base_url=sampler,
            vllm_weights_folder=str(output.parent / "weights"),
        )


def test_a_folder_that_the_server_does_not_see_ends_the_run_in_one_sentence(untied, output, tmp_path, monkeypatch):
    """On a server of its own, which has lost its weights afterwards."""
    options = ["--logprobs-mode", "processed_logprobs", "--max-model-len", "256"]
    with serving(untied.student, tmp_path / "log", *options, VLLM_SERVER_DEV_MODE="1") as url:
        settings = {
            "vllm_mode": "server",
            "vllm_server_base_url": url,
            "vllm_weights_folder": str(tmp_path / "weights"),
        }
        trainer = demo_trainer(untied, output, max_steps=2, save_strategy="no", **settings)
        client, reload = trainer.vllm_generation.vllm_client, trainer.vllm_generation.vllm_client.reload_weights
        trainer.add_callback(then_unseen(client, reload))
        with pytest.raises(
            RolloutServerError, match=r"failed with status 500 .* see that it sees .*weights under this"
        ):
            trainer.train()
        assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-1"]  # what was trained is kept
        assert list((tmp_path / "weights").iterdir()) == []
        assert httpx.get(f"{url}/v1/models").is_success


def then_unseen(client: Any, reload: Any) -> Any:
    """After the first step the client names a folder that is not there."""
    from transformers import TrainerCallback

    class Unseen(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            client.reload_weights = lambda folder: reload(folder.with_name("elsewhere"))

    return Unseen()


# ---- in the same process --------------------------------------------------------------------------------------------


def colocated(output: Path, **asked: Any) -> dict[str, Any]:
    """The figures of a run with vLLM in its process."""
    output.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "-m", "tests.server.colocated_run", json.dumps(asked), str(output)],
        cwd=ROOT,
        env=environment | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]
    return dict(json.loads((output / "figures.json").read_text()))


def test_colocated_vllm_samples_with_the_weights_of_every_step_and_old_ones_are_told(output):
    """The head of the demo's student is tied to its embeddings."""
    run = colocated(output, dtype="float32", stale_steps=8)
    assert_in_step(run["steps"], 20, EXACT)
    assert run["warnings"] == []
    assert [warning["kind"] for warning in run["stale"]["warnings"]] == [KIND]
    assert run["stale"]["steps"][-1]["policy_drift"] > 100 * EXACT


def test_twenty_steps_in_bfloat16_are_silent(output):
    run = colocated(output, options={"bf16": True, "temperature": 1.2}, stops=[COMMON_TOKEN])
    assert_in_step(run["steps"], 20, 0.01)
    assert run["warnings"] == []
    assert {tuple(places) for places in run["ends"]} <= {(0,), ()}


def test_colocated_vllm_gets_adapters_merged(output):
    run = colocated(output, dtype="float32", lora=LORA, options={"learning_rate": 3e-3, "max_steps": 8})
    assert_in_step(run["steps"], 8, EXACT)
