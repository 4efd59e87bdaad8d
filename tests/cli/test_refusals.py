"""Bad input ends in one sentence and exit code 2 before weights are read: the folders here hold none."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.harness import Result, run
from tests.models import MESSAGES, Pair


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": message, "completion": "yes"} for message in MESSAGES]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train(pair: Pair, data: Path, output: Path, *arguments: str, **models: str) -> Result:
    student, teacher = models.get("student", pair.student), models.get("teacher", pair.teacher)
    settings = ("max_completion_length=12", "per_device_train_batch_size=4", "use_cpu=true", "bf16=false")
    quick = [f"--set=train.{key}" for key in settings]
    named = ["--student", student, "--teacher", teacher, "--dataset", str(data), "--output", str(output)]
    return run("train", *named, *quick, *arguments)


def sft(pair: Pair, data: Path, output: Path, *arguments: str, student: str = "") -> Result:
    quick = ["--set=train.use_cpu=true", "--set=train.bf16=false"]
    return run(
        "sft", "--student", student or pair.student, "--dataset", str(data), "-o", str(output), *quick, *arguments
    )


COMMANDS = pytest.mark.parametrize("command", [train, sft])


@COMMANDS
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no data set"),
        ("", "is empty: give at least one row"),
        ('{"question": "x", "completion": "y"}\n', "has no 'prompt' column, only question, completion"),
    ],
)
def test_data(weightless, data, output, command, content, message):
    data.unlink() if content is None else data.write_text(content)
    result = command(weightless, data, output)
    assert message in result.message
    assert str(data) in result.message
    assert not output.exists()


def test_held_out_data(weightless, data, output, tmp_path):
    assert "there is no data set" in train(weightless, data, output, "--eval-dataset", str(tmp_path / "no.csv")).message


@COMMANDS
def test_a_tokenizer_whose_bytes_cannot_be_verified(weightless, data, output, command, whole_words):
    message = command(weightless, data, output, student=whole_words).message
    assert message.startswith(f"the student {whole_words!r} cannot be used: this tokenizer's model is 'WordLevel'")
    assert not output.exists()


def test_a_teacher_whose_bytes_cannot_be_verified(weightless, data, output, whole_words):
    message = train(weightless, data, output, teacher=whole_words).message
    assert message.startswith(f"the teacher {whole_words!r} cannot be used: this tokenizer's model is 'WordLevel'")


def test_one_model_as_both(weightless, data, output):
    message = train(weightless, data, output, teacher=weightless.student + "/").message
    assert message.startswith("student and teacher are both") and message.endswith("name two models.")
    assert "name two models" in sft(weightless, data, output, "--teacher", weightless.student).message


@pytest.mark.parametrize(("budget", "side"), [(128, "student"), (300, "student")])
def test_a_budget_beyond_the_context(weightless, data, output, budget, side):
    message = train(weightless, data, output, f"--set=train.max_completion_length={budget}").message
    assert f"max_completion_length = {budget} tokens does not fit the {side}'s context of 128 tokens" in message
    assert not output.exists()


def test_a_budget_beyond_the_teachers_context(weightless, data, output, short_teacher):
    message = train(weightless, data, output, "--set=train.max_completion_length=100", teacher=short_teacher).message
    assert "does not fit the teacher's context of 64 tokens" in message


def test_a_prompt_that_leaves_no_room(weightless, data, output):
    message = train(weightless, data, output, "--set=train.max_completion_length=126").message
    assert "exceeds the student's context of 128 tokens: lower the budget or drop the long prompts." in message


def test_a_step_that_takes_more_prompts_than_there_are(weightless, data, output):
    message = train(weightless, data, output, "--set=train.gradient_accumulation_steps=3").message
    assert "the training data has 8 prompts and a step takes 12: give more prompts" in message


def test_a_teacher_with_fewer_ids_than_its_tokenizer(weightless, data, output, mismatched):
    message = train(weightless, data, output, teacher=mismatched).message
    assert message.startswith(
        f"the teacher {mismatched!r} cannot be used: the model has 40 token ids but its tokenizer"
    )


@COMMANDS
def test_a_folder_that_holds_another_run(weightless, data, output, command):
    output.mkdir()
    (output / "config.json").write_text("{}")
    assert "holds another run: pass --resume to continue it" in command(weightless, data, output).message
    (output / "config.json").rename(output / "other.txt")
    assert "holds other files: name a new folder" in command(weightless, data, output).message


@COMMANDS
def test_resuming(weightless, data, output, command):
    assert "there is no run to resume" in command(weightless, data, output, "--resume").message
    output.mkdir()
    (output / "config.json").write_text(json.dumps({"student": "x", "train": {"learning_rate": 0.5}}))
    message = command(weightless, data, output, "--resume", "--set=train.learning_rate=0.1").message
    assert "of another configuration" in message
    assert f"student (was 'x', now {weightless.student!r})" in message
    assert "train.learning_rate (was 0.5, now 0.1)" in message


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["no-such-folder", "/no/such/folder", "nobody/nothing"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_models_that_do_not_exist(weightless, data, output, side, name):
    message = train(weightless, data, output, **{side: name}).message
    assert message.startswith(f"the configuration of {name!r} cannot be read (")
    assert message.endswith("give a model's folder, or a hub id that this machine can reach.")
    assert not output.exists()


@pytest.mark.usefixtures("offline")
def test_models_that_do_not_exist_for_sft(weightless, data, output):
    assert (
        "the tokenizer of 'nobody/nothing' cannot be read"
        in sft(weightless, data, output, student="nobody/nothing").message
    )
    message = sft(weightless, data, output, "--teacher", "nobody/nothing").message
    assert "of 'nobody/nothing' cannot be read" in message


@COMMANDS
def test_missing_weights(weightless, data, output, command):
    """Everything else about the run is right, so this is what loading them would look like."""
    assert f"the folder {weightless.student!r} holds no weights" in command(weightless, data, output).message
    assert not output.exists()


def test_a_teacher_without_weights(pair, weightless, data, output):
    message = train(pair, data, output, teacher=weightless.teacher).message
    assert f"the folder {weightless.teacher!r} holds no weights" in message


@COMMANDS
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set=train.learning_rat=1"], "[train] has no key 'learning_rat'; did you mean 'learning_rate'?"),
        (["--set=nope"], "is not of the form key=value"),
        (["--set=train.max_steps=many"], "[train] max_steps: input should be a valid integer, unable to parse"),
        (["--set=train.save_strategy=nope"], "[train] cannot be used: nope is not a valid SaveStrategy"),
        (["--set=lora.r=many"], "[lora] r: input should be a valid integer"),
        (["no.toml"], "there is no file no.toml"),
    ],
)
def test_configuration(weightless, data, output, command, arguments, message):
    assert message in command(weightless, data, output, *arguments).message
    assert not output.exists()


def test_missing_keys_are_named():
    message = run("train").message
    assert all(f"{key!r} is missing" in message for key in ("student", "teacher", "dataset"))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--objective=nope", "there is no objective 'nope'"),
        ("--preset=nope", "there is no preset 'nope'"),
        ("--set=objective_options.clip=1", "has no option 'clip'"),
    ],
)
def test_objectives_and_presets(weightless, data, output, argument, message):
    assert message in train(weightless, data, output, argument).message
    assert not output.exists()


@COMMANDS
def test_one_sentence_for_a_damaged_configuration(weightless, data, output, command, tmp_path):
    """It is read for the tokenizer, too, which is not to blame; `inspect` says the same."""
    folder = shutil.copytree(weightless.student, tmp_path / "model")
    (folder / "config.json").write_text("{")
    expected = f"the configuration of {str(folder)!r} cannot be read ("
    assert command(weightless, data, output, student=str(folder)).message.startswith(expected)
    assert run("inspect", str(folder), weightless.teacher).message.startswith(expected)


@COMMANDS
def test_a_tokenizer_that_git_did_not_fetch(weightless, data, output, command, tmp_path):
    folder = shutil.copytree(weightless.student, tmp_path / "model")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    expected = f"{folder / 'tokenizer.json'} is a git-lfs pointer, not the file itself: run `git lfs pull`"
    assert command(weightless, data, output, student=str(folder)).message.startswith(expected)
    assert run("inspect", str(folder), weightless.teacher).message.startswith(expected)


@COMMANDS
def test_weights_of_another_shape(pair, data, output, command, tmp_path):
    folder = shutil.copytree(pair.student, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 100}))
    message = command(pair, data, output, student=str(folder)).message
    assert message.startswith(f"the weights of the student {str(folder)!r} do not fit LlamaForCausalLM (")
    assert message.endswith("config.json says hidden_size = 100 and the weights say 32; correct config.json.")
    assert not output.exists()


def test_weights_of_a_teacher_that_writes(pair, data, output, tmp_path):
    folder = shutil.copytree(pair.teacher, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"")
    message = sft(pair, data, output, "--teacher", str(folder), "--set=max_new_tokens=20").message
    assert message == f"the weights {folder / 'model.safetensors'} are damaged (it is empty): fetch or save them again."
