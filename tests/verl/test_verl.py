"""verl's own trainer, unmodified, on the CPU: two FSDP2 workers, and a teacher behind HTTP whose network has faults."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from crossdistill.chat import stop_ids
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.distill import Distiller
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.teachers import LocalTeacher
from crossdistill.teachers.served import ServedTeacher
from crossdistill.train.monitor.rollout_sums import RolloutSums
from tests.integrations.verl.pair import DEFAULTS
from tests.teacher_server import TeacherServer, faults, scripts
from tests.verl.harness import ROOT, START_S, Run, exact_match, launch, prepare, read_records
from tests.verl.tool_talk import (
    ANSWER,
    CALL,
    CONVERSATION,
    QUESTION,
    RESULT,
    SCHEMA,
    STUDENT_TEMPLATE,
    TEACHER_TEMPLATE,
)

pytestmark = pytest.mark.verl

BATCH = 64
STEPS = 60
SMALL = {"steps": 4, "batch": 8}
FAULTS = (faults.reset(), faults.status(503), faults.busy("0"), faults.truncated(), faults.short_body())
FAULTY = 0.05
GAIN = 0.55
MATCH = "val-core/sums/acc/mean@1"


def unreliable() -> Any:
    return scripts.at_random(FAULTS, FAULTY, seed=1)


def rate(run: Run, step: int) -> float:
    """Exact match that verl's validation has logged with a step; with step 0 before training."""
    return run.steps()[step][MATCH]


def test_the_student_learns_through_a_faulty_network(verl: str, server: TeacherServer, tmp_path: Path) -> None:
    # the demo's rate; a constant one of 1e-3 loses what the student can
    rate_of_demo = {"learning_rate": 3e-4, "lr_scheduler_type": "cosine", "warmup_steps": 5}
    prepare(tmp_path, server.url, STEPS, BATCH, num_prompts=4096, **rate_of_demo)
    with launch(verl, tmp_path, *exact_match(tmp_path, STEPS), plainly=True) as run:
        run.wait_for_step(1, START_S)  # each worker has probed the server, which is done over a sound network
        server.script = unreliable()
        assert run.wait(3600) == 0, run.text()[-3000:]
    steps = run.steps()
    assert rate(run, STEPS) - rate(run, 0) >= GAIN
    assert {seen.fault for seen in server.log.scored()} >= {fault.name for fault in FAULTS}
    assert all(np.isfinite(steps[step]["crossdistill/teacher_gap"]) for step in range(1, STEPS + 1))
    assert all(steps[step]["crossdistill/coverage"] == 1.0 for step in range(1, STEPS + 1))
    assert all(steps[step]["crossdistill/failed_responses"] == 0 for step in range(1, STEPS + 1))


def test_its_loss_has_the_advantages_of_a_distiller(verl: str, server: TeacherServer, tmp_path: Path) -> None:
    prepare(tmp_path, server.url, **SMALL)
    records = tmp_path / "records"
    with launch(verl, tmp_path, plainly=True, records=records) as run:
        assert run.wait(1200) == 0, run.text()[-3000:]
    tokenizer = read_tokenizer(asset("student"))
    distiller = Distiller(tokenizer, ServedTeacher(server.url, read_tokenizer(asset("teacher"))), vocab_size=None)
    prompts = {tuple(distiller.renderer.render(prompt)): prompt for prompt in map(message, problems("train", 2048, 3))}
    samples = {tuple(np.float32(one["logprobs"])): one for one in read_records(records, "sample")}
    rows = read_records(records, "loss")
    assert len(rows) == SMALL["steps"] * SMALL["batch"]
    for row in rows:
        logprobs = trimmed(row["old"], samples)
        sample = samples[logprobs]
        size = len(sample["ids"])
        batch = distiller.score([prompts[tuple(sample["prompt_ids"])]], [sample["ids"]], [sample["logprobs"]])
        np.testing.assert_allclose(row["advantages"][:size], batch.advantages[0], atol=1e-6)
        np.testing.assert_array_equal(np.array(row["mask"][:size], dtype=bool), batch.loss_mask[0])
        # the policy that sampled, whose weights verl rounds to bfloat16 on their way to the sampler
        np.testing.assert_allclose(row["new"][:size], row["old"][:size], atol=0.05)
        assert not any(row["advantages"][size:])
        assert batch.advantages.abs().max() > 0


def test_the_defaults_that_fast_tests_take_for_verls(verl: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [verl, "-m", "tests.verl.defaults", *DEFAULTS]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert json.loads(out.splitlines()[-1]) == DEFAULTS


def trimmed(old: list[float], samples: dict[Any, Any]) -> tuple[Any, ...]:
    """Old log-probabilities without padding: those of a sample."""
    values = [np.float32(value) for value in old]
    return next(key for size in range(len(values), 0, -1) if (key := tuple(values[:size])) in samples)


def test_turns_with_tools_are_scored_one_by_one(verl: str, tmp_path: Path) -> None:
    """verl's own loop with tools, on a scripted sampler."""
    output = tmp_path / "made.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    subprocess.run([verl, "-m", "tests.verl.tool_loop", str(output)], check=True, cwd=tmp_path, env=environment)
    made = json.loads(output.read_text())
    call, answer = made["sizes"]
    num_tool_tokens = len(made["ids"]) - call - answer
    assert made["mask"] == [1] * call + [0] * num_tool_tokens + [1] * answer
    assert made["response"] == f"{CALL}<|end|><|user|>={RESULT}<|end|><|assistant|>{ANSWER}<|end|>"
    tokenizer, teacher = read_tokenizer(asset("student")), read_tokenizer(asset("teacher"))
    tokenizer.chat_template = STUDENT_TEMPLATE
    assert all(stops == sorted(stop_ids(tokenizer)) for stops in made["stops"])
    distiller = Distiller(
        tokenizer,
        LocalTeacher(AutoModelForCausalLM.from_pretrained(asset("teacher")), teacher),
        teacher_template_kwargs={"chat_template": TEACHER_TEMPLATE},
        tools=[SCHEMA],
    )
    batch = distiller.score(
        [QUESTION],
        [made["ids"]],
        [[-float(sampled) for sampled in made["mask"]]],
        sampled_masks=[made["mask"]],
        conversations=[CONVERSATION],
    )
    np.testing.assert_allclose(made["advantages"], batch.advantages[0], atol=1e-5)
    sums = RolloutSums(*made["record"]["sums"])
    assert (sums.turns, sums.tool_tokens, sums.stopped) == (2, num_tool_tokens, 1)


def test_a_killed_run_goes_on(verl: str, server: TeacherServer, tmp_path: Path) -> None:
    prepare(tmp_path, server.url, steps=8, batch=8, save_strategy="steps", save_steps=2)
    with launch(verl, tmp_path, plainly=True) as run:
        run.wait_for_step(5, START_S)
        run.kill()
    with launch(verl, tmp_path, plainly=True) as resumed:
        assert resumed.wait(1200) == 0, resumed.text()[-3000:]
    assert set(resumed.steps()) == {5, 6, 7, 8} or set(resumed.steps()) == {7, 8}
    assert (tmp_path / "checkpoints" / "global_step_8" / "watchdog.json").exists()
    weights = tmp_path / "checkpoints" / "global_step_8" / "actor" / "huggingface"
    assert list(weights.glob("*.safetensors"))


def test_a_dead_teacher_ends_the_run_with_a_checkpoint(verl: str, server: TeacherServer, tmp_path: Path) -> None:
    prepare(tmp_path, server.url, **SMALL, teacher_server={"patience_s": 3})
    with launch(verl, tmp_path, "trainer.total_training_steps=1000") as run:
        run.wait_for_step(2, START_S)
        server.stop()
        assert run.wait(300) == 75, run.text()[-3000:]
    last = max(run.steps())
    (sentence,) = [line for line in run.text().splitlines() if line.startswith("error: ")]
    assert f"There is a checkpoint of step {last}: launch again with trainer.resume_mode=auto" in sentence
    assert "Received an empty list as keys" not in run.text()
    loader = torch.load(tmp_path / "checkpoints" / f"global_step_{last}" / "data.pt")
    assert loader["_num_yielded"] == last  # batches: the prompts of the step that failed are drawn again
    server.start()
    with launch(verl, tmp_path, f"trainer.total_training_steps={last + 2}") as resumed:
        assert resumed.wait(1200) == 0, resumed.text()[-3000:]
    assert set(resumed.steps()) == {last + 1, last + 2}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            [f"crossdistill.teacher_tokenizer={asset('student')}"],
            "error: the server's tokenizer is not the one that was given",
        ),
        (
            ["actor_rollout_ref.rollout.calculate_log_probs=False"],
            "error: actor_rollout_ref.rollout.calculate_log_probs is False, and credit needs the log-probabilities",
        ),
        (["crossdistill.objective=simct"], "error: objective 'simct' has a loss of its own, and verl's is"),
    ],
    ids=["tokenizer", "log-probabilities", "objective"],
)
def test_a_run_that_cannot_work(
    verl: str, server: TeacherServer, tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    prepare(tmp_path, server.url, **SMALL)
    with launch(verl, tmp_path, *overrides) as run:
        assert run.wait(600) == 2, run.text()[-3000:]
    (line,) = [line for line in run.text().splitlines() if line.startswith("error: ")]
    assert line.startswith(sentence)
    assert not run.steps()


def test_a_plug_in_that_is_kept_from_loading(
    verl: str, server: TeacherServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, server.url, **SMALL)
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "none")
    with launch(verl, tmp_path) as run:
        assert run.wait(600) == 2, run.text()[-3000:]
    assert "error: VERL_USE_EXTERNAL_PLUGINS=none keeps verl from loading the plug-in" in run.text()
