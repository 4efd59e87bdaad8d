"""Evaluations during training: what they find, and that training does not notice them."""

import json
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossdistill import InputError
from crossdistill.errors import EvaluationError
from crossdistill.report.format import percent
from crossdistill.runs import during
from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.interrupt import Interrupted
from crossdistill.runs.run_file import read_run
from crossdistill.runs.sft import sft
from crossdistill.runs.train import train
from crossdistill.train.whole import check_whole
from tests.models import MESSAGES, Pair
from tests.runs.parity_task import NUM_PROBLEMS, PATH, Even

STEPS = 4
TRAIN = {
    "max_steps": STEPS,
    "per_device_train_batch_size": 4,
    "max_completion_length": 12,
    "learning_rate": 1e-3,
    "save_steps": 1,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
}
GREEDY = {"parity": {"task": PATH}}
SAMPLED = {"parity": {"task": PATH, "temperature": 1.0, "seed": 3}}


def config(pair: Pair, data: str, eval_tasks: Any = GREEDY, eval_every: int | None = 2, **options: Any) -> RunConfig:
    return RunConfig(
        student=pair.student,
        teacher=pair.teacher,
        dataset=data,
        eval_tasks=eval_tasks,
        eval_every=eval_every,
        train={**TRAIN, **options},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": message}) + "\n" for message in MESSAGES))
    return str(path)


@pytest.fixture(scope="module")
def whole(pair: Pair, data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config(pair, data, report_to="tensorboard"), folder)
    return folder


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are evaluated from now on."""
    folders: list[str] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        folders.append(args[-1].name)
        return during_evaluate(*args, **kwargs)

    during_evaluate = during.evaluate_model
    monkeypatch.setattr(during, "evaluate_model", counting)
    return folders


def trained(folder: Path) -> dict[str, Any]:
    """What must not depend on evaluations."""
    steps = [entry for entry in read_run(folder)["history"] if "loss" in entry]
    figures = [(entry["step"], entry["loss"], entry["grad_norm"], entry["teacher_gap"]) for entry in steps]
    return {"figures": figures, "coverage": read_run(folder)["coverage"], "tokens": read_run(folder)["tokens"]}


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


def curve(folder: Path) -> list[tuple[int, float]]:
    return [(point["step"], point["mean"]) for point in read_run(folder)["accuracy"]["parity"]]


def test_the_accuracy_is_in_run_json_with_what_training_had_cost(whole):
    points = read_run(whole)["accuracy"]["parity"]
    assert [point["step"] for point in points] == [0, 2, 4]
    for point in points:
        assert point["n"] == NUM_PROBLEMS
        assert 0 <= point["ci"][0] <= point["mean"] <= point["ci"][1] <= 1
    run = read_run(whole)
    assert [points[0][key] for key in ("student_tokens", "flops")] == [0, 0]
    assert points[-1]["student_tokens"] == run["tokens"]["student_step"] > points[1]["student_tokens"] > 0
    assert points[-1]["flops"] == run["flops"]["total"] > points[1]["flops"] > 0
    assert 0 <= points[0]["seconds"] < points[1]["seconds"] < points[-1]["seconds"] <= run["seconds"]


def test_each_is_an_evaluation_folder_with_its_samples(whole):
    for step, mean in curve(whole):
        folder = RunFolder(whole).evaluation(step)
        samples = [json.loads(line) for line in (folder / "samples" / "parity.jsonl").read_text().splitlines()]
        assert len(samples) == NUM_PROBLEMS
        assert sum(sample["correct"] for sample in samples) / NUM_PROBLEMS == pytest.approx(mean)
        result = json.loads((folder / "eval.json").read_text())
        assert result["tasks"]["parity"]["metrics"]["avg@k"]["mean"] == pytest.approx(mean)


def test_it_is_in_the_log_and_in_tensorboard(whole):
    logged = [entry for entry in read_run(whole)["history"] if "eval_parity/accuracy" in entry]
    assert [(entry["step"], entry["eval_parity/accuracy"]) for entry in logged] == curve(whole)
    assert {"eval_parity/accuracy_low", "eval_parity/accuracy_high", "eval_parity/truncated"} <= logged[0].keys()
    [events] = whole.rglob("events.out*")
    scalars = EventAccumulator(str(events)).Reload().Scalars("eval/parity/accuracy")
    assert [event.step for event in scalars] == [step for step, _ in curve(whole)]
    assert [event.value for event in scalars] == pytest.approx([mean for _, mean in curve(whole)])


def test_the_report_draws_it(whole):
    page = (whole / "report.html").read_text()
    assert "Accuracy on parity" in page
    first, *_, last = (percent(mean) for _, mean in curve(whole))
    assert f"{first} → {last}" in page


@pytest.mark.parametrize("tasks", [GREEDY, pytest.param(SAMPLED, marks=pytest.mark.slow)], ids=["greedy", "sampled"])
def test_training_is_the_same_bit_for_bit(pair, data, whole, tmp_path, tasks):
    folder = whole
    if tasks is SAMPLED:
        folder = tmp_path / "sampled"
        train(config(pair, data, tasks), folder)
        assert read_run(folder)["accuracy"]["parity"][0]["n"] == NUM_PROBLEMS
    train(config(pair, data, eval_tasks=None), tmp_path / "without")
    assert trained(folder) == trained(tmp_path / "without")
    assert same_weights(folder, tmp_path / "without")
    assert "accuracy" not in read_run(tmp_path / "without")


def test_with_the_teacher_gap_beside_it(pair, data, tmp_path):
    """The gap's own evaluation before training is neither disturbed nor lost."""
    for name, tasks in {"with": GREEDY, "without": None}.items():
        chosen = config(pair, data, tasks, max_steps=2).model_copy(update={"eval_dataset": data})
        train(chosen, tmp_path / name)
    both = [read_run(tmp_path / name) for name in ("with", "without")]
    assert both[0]["metrics"] == both[1]["metrics"]
    assert trained(tmp_path / "with") == trained(tmp_path / "without")
    assert [entry["step"] for entry in both[0]["history"] if "eval_parity/accuracy" in entry] == [0, 2]


def test_a_tenth_of_the_run_is_evaluated_unless_told(pair, data, tmp_path, evaluated):
    train(config(pair, data, eval_every=None, max_steps=21, save_strategy="no"), tmp_path / "run")
    assert evaluated == [f"step-{step:06d}" for step in [*range(0, 21, 3), 21]]


def test_eval_steps_say_when(pair, data, tmp_path, evaluated):
    options = {"eval_strategy": "steps", "eval_steps": 3}
    chosen = config(pair, data, eval_every=None, **options).model_copy(update={"eval_dataset": data})
    train(chosen, tmp_path / "run")
    assert evaluated == ["step-000000", "step-000003", "step-000004"]


def test_between_two_batches_of_rollouts(pair, data, tmp_path, evaluated):
    """There a checkpoint can be taken if a signal comes."""
    train(config(pair, data, eval_every=1, num_iterations=2, save_steps=2), tmp_path / "run")
    assert evaluated == ["step-000000", "step-000002", "step-000004"]


def test_a_resumed_run_repeats_no_evaluation(pair, data, whole, tmp_path, evaluated):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    for step in (3, 4):
        shutil.rmtree(folder.checkpoints / f"checkpoint-{step}")
    shutil.rmtree(folder.evaluation(4))
    chosen = config(pair, data, report_to="tensorboard")
    train(chosen, folder.path, resume=True)
    assert evaluated == ["step-000004"]
    assert curve(folder.path) == curve(whole)
    keys = ("step", "student_tokens", "flops")
    one, other = (read_run(path)["accuracy"]["parity"] for path in (folder.path, whole))
    assert [[point[key] for key in keys] for point in one] == [[point[key] for key in keys] for point in other]
    logged = [entry["step"] for entry in read_run(folder.path)["history"] if "eval_parity/accuracy" in entry]
    assert logged == [0, 2, 4]
    assert same_weights(folder.path, whole)


def test_what_was_evaluated_after_the_checkpoint_is_logged_again(pair, data, whole, tmp_path, evaluated):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    for step in (2, 3, 4):
        shutil.rmtree(folder.checkpoints / f"checkpoint-{step}")
    chosen = config(pair, data, report_to="tensorboard")
    train(chosen, folder.path, resume=True)
    assert evaluated == []
    logged = [entry["step"] for entry in read_run(folder.path)["history"] if "eval_parity/accuracy" in entry]
    assert logged == [0, 2, 4]


def signal_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM while the evaluation after this step writes its responses."""
    evaluate = during.evaluate_model

    def signalled(model: Any, *args: Any, **kwargs: Any) -> Any:
        if args[-1].name != f"step-{step:06d}":
            return evaluate(model, *args, **kwargs)
        hook = model.register_forward_pre_hook(lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            evaluate(model, *args, **kwargs)
        finally:
            hook.remove()
        raise AssertionError("the evaluation went on")

    monkeypatch.setattr(during, "evaluate_model", signalled)


def test_a_signal_ends_the_evaluation_before_training(pair, data, tmp_path, monkeypatch):
    signal_at(monkeypatch, 0)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 0"):
        train(config(pair, data), tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("step", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_signal_during_an_evaluation_leaves_a_checkpoint_from_which_the_run_ends_as_the_whole_one(
    pair, data, whole, tmp_path, monkeypatch, step
):
    folder = RunFolder(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, step)
        with pytest.raises(Interrupted, match=f"stopped by SIGTERM after step {step}"):
            train(config(pair, data, save_strategy="no"), folder.path)
    assert [path.name for path in folder.checkpoints.glob("checkpoint-*")] == [f"checkpoint-{step}"]
    assert not (folder.evaluation(step) / "training.json").exists()
    train(config(pair, data, save_strategy="no"), folder.path, resume=True)
    assert curve(folder.path) == curve(whole)
    assert same_weights(folder.path, whole)
    logged = [entry["step"] for entry in read_run(folder.path)["history"] if "eval_parity/accuracy" in entry]
    assert logged == [0, 2, 4]


def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grader that fails in the second evaluation from now on, after a response."""
    grade, calls = Even.grade, []

    def broken(self: Even, responses: Any) -> Any:
        calls.append(self)
        if len(calls) != 2:
            return grade(self, responses)
        return (1 / 0 if number else verdict for number, verdict in enumerate(grade(self, responses)))

    monkeypatch.setattr(Even, "grade", broken)


def test_a_grader_that_fails_leaves_a_checkpoint_from_which_the_run_ends_as_the_whole_one(pair, data, whole, tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        breaking(patch)
        with pytest.raises(
            EvaluationError,
            match=r"on the task .parity. failed \(ZeroDivisionError in test_during.py, line",
        ):
            train(config(pair, data, save_strategy="no"), folder.path)
    assert [path.name for path in folder.checkpoints.glob("checkpoint-*")] == ["checkpoint-2"]
    assert len((folder.evaluation(2) / "samples" / "parity.jsonl").read_text().splitlines()) == 1
    train(config(pair, data, save_strategy="no"), folder.path, resume=True)
    assert curve(folder.path) == curve(whole)
    assert same_weights(folder.path, whole)


def test_a_grader_that_fails_in_sft(pair, examples, tmp_path, monkeypatch):
    breaking(monkeypatch)
    with pytest.raises(EvaluationError, match="repair the task or its grader"):
        sft(sft_config(pair, examples, save_strategy="no"), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("checkpoints/checkpoint-*")] == ["checkpoint-2"]


def test_its_time_is_no_time_of_training(pair, data, tmp_path, monkeypatch):
    evaluate, passed = during.evaluate_model, [0.0]

    def slow(*args: Any, **kwargs: Any) -> Any:
        passed[0] += 1000
        return evaluate(*args, **kwargs)

    counter = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: counter() + passed[0])
    monkeypatch.setattr(during, "evaluate_model", slow)
    _, run = train(config(pair, data), tmp_path / "run")
    assert passed[0] == 3000
    assert run["seconds"] < 500
    assert all(point["seconds"] < 500 for point in run["accuracy"]["parity"])
    assert all(entry["seconds/total"] < 500 for entry in run["history"] if "loss" in entry)


def test_problems_among_the_training_prompts_are_told(whole):
    [found] = [entry for entry in read_run(whole)["findings"] if entry["kind"] == "problems_trained_on"]
    assert found["message"].startswith(f"1 of the {NUM_PROBLEMS} problems of the evaluation task 'parity' are among")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the student was loaded")

    monkeypatch.setattr("crossdistill.train.loading.load_model", refuse)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["gsm9k"], "there is no task 'gsm9k': did you mean gsm8k?"),
        ({"mine": {"source": "nowhere.jsonl"}}, "nowhere.jsonl"),
        ({"parity": {"task": PATH, "k": 4}}, "k = 4 samples of temperature 0 would all be the same"),
        ({"parity": {"task": PATH, "limit": 100}}, "task 'parity' has 6 problems, fewer than the limit of 100"),
        ({"parity": {"task": "tests.runs.parity_task:PATH"}}, "is not a subclass of crossdistill.eval.task.Task"),
    ],
)
def test_what_cannot_work_is_refused_before_weights_are_read(pair, data, tmp_path, no_weights, tasks, message):
    with pytest.raises(InputError, match=message):
        train(config(pair, data, tasks), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_zero3_is_refused(pair, data, tmp_path, no_weights, monkeypatch):
    monkeypatch.setattr("crossdistill.train.whole.is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(InputError, match="eval_tasks need the whole student in one process, and ZeRO-3 keeps a part"):
        train(config(pair, data), tmp_path / "run")


def test_fsdp1_is_refused():
    state = SimpleNamespace(fsdp_plugin=SimpleNamespace(fsdp_version=1))
    trainer = SimpleNamespace(is_fsdp_enabled=True, accelerator=SimpleNamespace(state=state))
    with pytest.raises(InputError, match="set fsdp_version to 2"):
        check_whole(trainer)
    state.fsdp_plugin.fsdp_version = 2
    check_whole(trainer)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("examples") / "rows.jsonl"
    rows = [{"prompt": message, "completion": "seven"} for message in MESSAGES]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sft_config(pair: Pair, examples: str, eval_tasks: Any = GREEDY, **options: Any) -> SFTRunConfig:
    kept = {key: value for key, value in TRAIN.items() if key != "max_completion_length"}
    return SFTRunConfig(
        student=pair.student, dataset=examples, eval_tasks=eval_tasks, eval_every=2, train={**kept, **options}
    )


def test_sft(pair, examples, tmp_path):
    run = sft(sft_config(pair, examples), tmp_path / "with")
    without = sft(sft_config(pair, examples, None), tmp_path / "without")
    assert [point["step"] for point in run["accuracy"]["parity"]] == [0, 2, 4]
    points = run["accuracy"]["parity"]
    assert points[-1]["student_tokens"] == run["tokens"]["sft_step"] > points[1]["student_tokens"] > 0
    assert points[-1]["flops"] == run["flops"]["total"] > 0
    assert same_weights(tmp_path / "with", tmp_path / "without")
    losses = [[entry["loss"] for entry in one["history"] if "loss" in entry] for one in (run, without)]
    assert losses[0] == losses[1]


def test_sft_that_is_interrupted_and_resumed(pair, examples, tmp_path):
    whole = sft(sft_config(pair, examples), tmp_path / "whole")
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, 2)
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 2"):
            sft(sft_config(pair, examples), folder)
    resumed = sft(sft_config(pair, examples), folder, resume=True)
    assert resumed["tokens"] == whole["tokens"]
    keys = ("step", "mean", "student_tokens", "flops")
    one, other = (run["accuracy"]["parity"] for run in (resumed, whole))
    assert [[point[key] for key in keys] for point in one] == [[point[key] for key in keys] for point in other]
    assert same_weights(folder, tmp_path / "whole")
