"""A run file is validated whole, and what is wrong with it is said."""

from dataclasses import fields
from pathlib import Path

import pytest
from trl import DistillationConfig

from crossdistill import InputError
from crossdistill.objectives import get
from crossdistill.runs.config import RunConfig, SFTRunConfig, read_config
from crossdistill.runs.keys import LORA, SFT_TRAIN, TRAIN
from crossdistill.train import PRESETS, CrossTokenizerConfig

WHOLE = """
student = "s"
teacher = "t"
dataset = "d.jsonl"

[objective_options]
credit = "uniform"

[train]
learning_rate = 1e-5
"""
NEEDED = ["student=s", "teacher=t", "dataset=d"]


def read(text: str | None, tmp_path: Path, overrides: list[str] | None = None, **named: object) -> RunConfig:
    path = None
    if text is not None:
        path = tmp_path / "run.toml"
        path.write_text(text)
    return read_config(RunConfig, path, overrides or [], named)


def test_a_file(tmp_path):
    config = read(WHOLE, tmp_path)
    assert (config.student, config.teacher, config.dataset) == ("s", "t", "d.jsonl")
    assert config.train == {"learning_rate": 1e-5}
    assert config.objective_options == {"credit": "uniform"}
    assert config.lora is None


def test_overrides_and_named_options_win_in_this_order(tmp_path):
    overrides = ["train.learning_rate=2e-5", "train.max_steps=7", "student=other", "lora.r=4", 'teacher = "x y"']
    config = read(WHOLE, tmp_path, overrides, student="named", eval_dataset=None)
    assert config.train == {"learning_rate": 2e-5, "max_steps": 7}
    assert config.student == "named"
    assert config.lora == {"r": 4}
    assert config.eval_dataset is None


def test_no_file_is_needed(tmp_path):
    assert read(None, tmp_path, NEEDED).student == "s"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (WHOLE.replace("student", "studnet", 1), [], r"'student' is missing: Student: a folder or a hub id"),
        (WHOLE, ["studnet=x"], r"unknown key 'studnet'; did you mean 'student'\?"),
        (WHOLE, ["max_steps=5"], r"unknown key 'max_steps'; did you mean 'train.max_steps'\?"),
        (WHOLE, ["max_stpes=5"], r"unknown key 'max_stpes'; did you mean 'train.max_steps'\?"),
        (WHOLE, ["train.teacher=x"], r"\[train\] has no key 'teacher'; did you mean 'teacher' at the top of the file"),
        (WHOLE, ["train.r=4"], r"\[train\] has no key 'r'; did you mean 'lora.r'\?"),
        (WHOLE, ["clip_low=0.1"], r"unknown key 'clip_low'; did you mean 'objective_options.clip_low'\?"),
        (WHOLE, ["eval_tasks.sums.limt=4"], r"unknown key 'eval_tasks.sums.limt'; did you mean 'limit'\?"),
        (WHOLE + "max_step = 3", [], r"\[train\] has no key 'max_step'; did you mean 'max_steps'\?"),
        (WHOLE, ["train.learning_rate=fast"], r"\[train\] learning_rate: input should be a valid number.*got 'fast'"),
        (WHOLE, ["lora.r=x"], r"\[lora\] r: input should be a valid integer.*got 'x'"),
        (WHOLE, ["xyzzy=x"], r"unknown key 'xyzzy'; --keys lists them all"),
        (WHOLE, ["train.learning_rat=1"], r"\[train\] has no key 'learning_rat'; did you mean 'learning_rate'\?"),
        (WHOLE, ["train.xyzzy=1"], r"\[train\] has no key 'xyzzy'; --keys lists them all"),
        (WHOLE, ["train.output_dir=x"], r"\[train\] has no key 'output_dir'"),
        (WHOLE, ["lora.rr=1"], r"\[lora\] has no key 'rr'; did you mean 'r'\?"),
        (WHOLE, ["train=3"], r"'train': input should be a valid dictionary, got 3"),
        (WHOLE, ["student=3"], r"'student': input should be a valid string, got 3"),
        (WHOLE, ["student.x=3"], r"the override 'student.x=3' goes into 'student', which is not a table"),
        (WHOLE, ["student"], r"the override 'student' is not of the form key=value"),
        (WHOLE, ["=3"], r"the override '=3' is not of the form key=value"),
        ("student = ", [], r"run.toml is not valid TOML \("),
        ("student = 's'\nstudent = 't'", [], r"run.toml is not valid TOML \("),
    ],
)
def test_refused(tmp_path, text, overrides, message):
    with pytest.raises(InputError, match=message):
        read(text, tmp_path, overrides)


def test_every_fault_is_named_at_once(tmp_path):
    with pytest.raises(InputError) as error:
        read("studnet = 's'\n[train]\nbogus = 1", tmp_path)
    for part in ("'student' is missing", "'teacher' is missing", "'dataset' is missing", "'studnet'", "'bogus'"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.toml: give the path of a TOML run file"):
        read_config(RunConfig, tmp_path / "none.toml", [], {})
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not valid TOML"):
        read_config(RunConfig, tmp_path / "run.toml", [], {})
    with pytest.raises(InputError, match="is a folder"):
        read_config(RunConfig, tmp_path, [], {})


# --- the paper's settings, as method.md states them (section 1)


def trainer_config(tmp_path: Path, *overrides: str) -> CrossTokenizerConfig:
    config = read(None, tmp_path, [*NEEDED, *overrides])
    return CrossTokenizerConfig(**{"output_dir": str(tmp_path), "use_cpu": True, **config.trainer_arguments()})


def test_the_papers_settings(tmp_path):
    args = trainer_config(tmp_path, "preset=paper", "train.bf16=false")
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 128
    assert args.num_iterations == 1
    assert args.optim.startswith("adamw")
    assert (args.learning_rate, args.warmup_steps, args.weight_decay, args.max_grad_norm) == (1e-6, 10, 0.01, 1.0)
    assert (args.temperature, args.top_p, args.top_k, args.min_p) == (1.0, 1.0, 0, None)
    assert args.repetition_penalty == 1.0
    assert args.max_completion_length == 16384
    objective = get(args.objective, **args.objective_options)
    assert (objective.name, objective.credit) == ("dpca", "semantic_prior")
    assert (objective.clip_low, objective.clip_high, objective.dual_clip, objective.max_advantage) == (
        0.2,
        0.28,
        10,
        10,
    )
    assert PRESETS["paper"]["bf16"] is True


def test_a_preset_is_overridden_key_by_key(tmp_path):
    args = trainer_config(
        tmp_path, "preset=paper", "train.bf16=false", "train.learning_rate=3e-6", 'objective_options.credit="first"'
    )
    assert args.learning_rate == 3e-6
    assert args.objective_options["credit"] == "first"
    assert args.objective_options["clip_high"] == 0.28
    assert args.weight_decay == 0.01
    assert PRESETS["paper"]["objective_options"]["credit"] == "semantic_prior"  # the preset itself is not touched


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["preset=papre"], "there is no preset 'papre'; choose one of paper"),
        (["objective=nope"], "there is no objective 'nope'; choose one of "),
        (["objective_options.clip=1"], "objective 'dpca' has no option 'clip'; it takes "),
        (["objective_options.credit=all"], "there is no credit method 'all'"),
        (["train.num_iterations=0"], "num_iterations must be at least 1, not 0"),
        (["train.num_iterations=2", "train.save_steps=5"], "save_steps = 5 is not a multiple of num_iterations = 2"),
    ],
)
def test_settings_that_cannot_work(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        trainer_config(tmp_path, "train.bf16=false", *overrides)


def test_nothing_is_reported_unless_asked_for(tmp_path):
    assert trainer_config(tmp_path, "train.bf16=false").report_to == []


# --- the lists of keys


def test_keys_are_those_of_the_configurations():
    assert {"learning_rate", "num_iterations", "use_vllm", "stop_unit"} <= {*TRAIN.names}
    assert {"output_dir", "objective", "beta", "teacher_model_name_or_path"}.isdisjoint(TRAIN.names)
    assert "learning_rate" in SFT_TRAIN.names
    assert "output_dir" not in SFT_TRAIN.names
    assert {"r", "lora_alpha", "target_modules"} <= {*LORA.names}
    ours = {field.name for field in fields(CrossTokenizerConfig)} - {field.name for field in fields(DistillationConfig)}
    assert "num_iterations" in ours
    assert ours - {"objective", "objective_options"} <= {key.name for key in TRAIN.keys if key.is_ours}


def test_sft_keys(tmp_path):
    config = read_config(SFTRunConfig, None, ["student=s", "dataset=d", "train.num_train_epochs=2"], {"teacher": "t"})
    assert (config.teacher, config.max_new_tokens) == ("t", 512)
    with pytest.raises(InputError, match=r"\[train\] has no key 'num_epochs'; did you mean"):
        read_config(SFTRunConfig, None, ["student=s", "dataset=d", "train.num_epochs=2"], {})
    with pytest.raises(InputError, match=r"'max_new_tokens': input should be a valid integer"):
        read_config(SFTRunConfig, None, ["student=s", "dataset=d", "max_new_tokens=many"], {})


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_checkpointing_can_be_turned_off_by_either_name(tmp_path, name):
    assert trainer_config(tmp_path, "train.bf16=false").activation_checkpointing is True
    assert trainer_config(tmp_path, "train.bf16=false", f"train.{name}=false").activation_checkpointing is False
