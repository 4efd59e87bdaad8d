"""A run file becomes verl's configuration for the same run; a setting that verl cannot honour is refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.errors import InputError
from crossdistill.integrations.verl.checks import SEAMS, check_settings
from crossdistill.integrations.verl.data import verl_rows
from crossdistill.integrations.verl.run_file import Launch, verl_settings
from crossdistill.runs.config import RunConfig
from tests.cli.harness import run
from tests.integrations.verl.pair import composed, flat

LAUNCH = Launch("out", "train.parquet", None, num_rows=1000, longest_prompt=40)
URL = "http://teacher:8000"
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def config(train: dict[str, Any] | None = None, **fields: Any) -> RunConfig:
    known = {
        "student": asset("student"),
        "teacher": URL,
        "teacher_tokenizer": asset("teacher"),
        "dataset": "rows.jsonl",
    }
    table = {"lr_scheduler_type": "constant", "bf16": False, **(train or {})}
    return RunConfig(**{**known, **fields}, train=table)


def settings(train: dict[str, Any] | None = None, launch: Launch = LAUNCH, **fields: Any) -> dict[str, Any]:
    return verl_settings(config(train, **fields), launch)


def test_the_settings_of_the_paper():
    train = {"gradient_accumulation_steps": 16, "max_steps": 300, "lr_scheduler_type": "constant_with_warmup"}
    made = settings(train, preset="paper")
    expected = {
        f"{ACTOR}.optim.lr": 1e-6,
        f"{ACTOR}.optim.lr_scheduler_type": "constant",
        f"{ACTOR}.optim.lr_warmup_steps": 10,
        f"{ACTOR}.optim.weight_decay": 0.01,
        f"{ACTOR}.optim.clip_grad": 1.0,
        f"{ACTOR}.clip_ratio_low": 0.2,
        f"{ACTOR}.clip_ratio_high": 0.28,
        f"{ACTOR}.clip_ratio_c": 10.0,
        f"{ACTOR}.ppo_epochs": 1,
        "data.train_batch_size": 128,
        f"{ACTOR}.ppo_mini_batch_size": 128,
        "data.max_response_length": 16384,
        f"{ROLLOUT}.temperature": 1.0,
        f"{ROLLOUT}.top_k": -1,
        "algorithm.rollout_correction.bypass_mode": True,
        "trainer.total_training_steps": 300,
        "crossdistill.objective_options": {"credit": "semantic_prior", "max_advantage": 10.0},
        "crossdistill.teacher": URL,
    }
    assert {key: made[key] for key in expected} == expected


def test_the_plug_in_accepts_what_is_written():
    made = settings({"teacher_server": {"max_in_flight": 64}, "text_tokens": ["<think>"], "min_coverage": 0.5})
    options = check_settings(composed(made))
    assert options.teacher_server == {"max_in_flight": 64}
    assert options.text_tokens == ("<think>",)
    assert options.min_coverage == 0.5
    assert options.teacher == URL
    assert {key: made[key] for key in SEAMS} == SEAMS


def test_a_reference_beside_one_teacher():
    made = settings(teachers={"reference": {"model": URL + "1", "tokenizer": "org/b"}})
    options = check_settings(composed(made))
    assert {name: table.model for name, table in options.named_teachers.items()} == {
        "teacher": URL,
        "reference": URL + "1",
    }
    assert options.named_teachers["teacher"].tokenizer == asset("teacher")
    assert options.routing.of({"prompt": "x"}) == {"teacher": 1.0, "reference": -1.0}


def test_a_reward_is_refused():
    train = {"num_generations": 4, "gradient_accumulation_steps": 16, "reward": "gsm8k"}
    with pytest.raises(InputError, match="reward cannot be honoured by verl, because the place of its rewards holds"):
        settings(train)


def test_several_teachers():
    teachers = {"a": {"model": URL, "tokenizer": asset("teacher")}, "b": {"model": URL + "1", "tokenizer": "org/b"}}
    made = settings({"teacher_rules": {"a": "sum", "b": ""}}, teacher=None, teacher_tokenizer=None, teachers=teachers)
    options = check_settings(composed(made))
    assert options.routing.of({"prompt": "the sum"}) == {"a": 1.0}
    assert options.named_teachers["b"].tokenizer == "org/b"


@pytest.mark.parametrize(
    ("train", "key", "value"),
    [
        ({"learning_rate": 3e-5}, f"{ACTOR}.optim.lr", 3e-5),
        ({"adam_beta2": 0.95}, f"{ACTOR}.optim.betas", [0.9, 0.95]),
        ({"warmup_steps": 0.25, "lr_scheduler_type": "cosine"}, f"{ACTOR}.optim.lr_warmup_steps_ratio", 0.25),
        ({"num_iterations": 4, "save_strategy": "no"}, f"{ACTOR}.ppo_epochs", 4),
        ({"num_generations": 4, "per_device_train_batch_size": 4}, f"{ROLLOUT}.n", 4),
        ({"num_generations": 4, "per_device_train_batch_size": 4}, "data.train_batch_size", 8),
        ({"num_generations": 4, "per_device_train_batch_size": 4}, f"{ACTOR}.ppo_mini_batch_size", 8),
        ({"max_grad_norm": 0.5}, f"{ACTOR}.optim.clip_grad", 0.5),
        ({"max_grad_norm": 0}, f"{ACTOR}.optim.clip_grad", math.inf),
        ({"bf16": True}, f"{ROLLOUT}.dtype", "bfloat16"),
        ({"bf16": False}, f"{ROLLOUT}.dtype", "float32"),
        ({"use_vllm": True, "top_k": -1}, f"{ROLLOUT}.top_k", -1),
        ({"micro_batch_tokens": 64, "max_completion_length": 24}, f"{ACTOR}.use_dynamic_bsz", True),
        ({"micro_batch_tokens": 65, "max_completion_length": 24}, f"{ACTOR}.ppo_max_token_len_per_gpu", 65),
        ({"micro_batch_tokens": 8, "max_completion_length": 24}, f"{ACTOR}.ppo_max_token_len_per_gpu", 64),
        ({"temperature": 0.7}, f"{ROLLOUT}.temperature", 0.7),
        ({"chat_template_kwargs": {"a": 1}}, "data.apply_chat_template_kwargs", {"a": 1}),
        ({"shuffle_dataset": False}, "data.shuffle", False),
        ({"seed": 7}, "data.seed", 7),
        ({"save_steps": 25}, "trainer.save_freq", 25),
        ({"save_strategy": "no"}, "trainer.save_freq", 45),
        ({"save_strategy": "no", "max_steps": 7}, "trainer.save_freq", 7),
        ({"save_steps": 0.1, "max_steps": 55}, "trainer.save_freq", 6),
        ({"save_total_limit": 2}, "trainer.max_actor_ckpt_to_keep", 2),
        ({"num_train_epochs": 2}, "trainer.total_epochs", 2),
        ({"use_vllm": True, "vllm_gpu_memory_utilization": 0.6}, f"{ROLLOUT}.gpu_memory_utilization", 0.6),
        ({"stop_unit": False}, "crossdistill.stop_unit", False),
        ({"objective_options": {"clip_high": 0.3}}, None, None),
    ],
)
def test_settings_are_translated(train, key, value):
    if key is None:
        made = settings(**train)
        assert made[f"{ACTOR}.clip_ratio_high"] == 0.3
        assert "crossdistill.objective_options" not in made
    else:
        assert settings(train)[key] == value


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"top_p": 0.9}, "top_p cannot be honoured by verl, because the log-probabilities that its sampler returns"),
        ({"top_k": 50}, "top_k cannot be honoured by verl, because the log-probabilities that its sampler returns"),
        ({"logging_steps": 5}, "logging_steps cannot be honoured by verl, because verl logs each step"),
        ({"optim": "sgd"}, r"\[train\] optim cannot be honoured by verl, because verl trains with AdamW"),
        ({"on_policy_share": 0.5}, "dpca"),
        ({"rollout_parts": 2}, r"\[train\] rollout_parts cannot be honoured"),
        (
            {"lr_scheduler_type": "linear"},
            "lr_scheduler_type = 'linear' cannot be honoured by verl, which has",
        ),
        ({"disable_dropout": False}, "disable_dropout"),
        ({"min_p": 0.1}, "min_p cannot be honoured by verl, because verl passes only temperature"),
        ({"model_init_kwargs": {"dtype": "bfloat16"}}, "model_init_kwargs: dtype"),
        ({"num_train_epochs": 1.5}, "num_train_epochs must be a whole number"),
        ({"save_strategy": "epoch"}, "save_strategy must be no or steps"),
        ({"report_to": ["azure_ml"]}, "report_to names 'azure_ml', which verl has not: name some of wandb"),
        ({"push_to_hub": True}, "push_to_hub cannot be honoured"),
        (
            {"torch_empty_cache_steps": 3},
            "torch_empty_cache_steps cannot be .* because verl has no such",
        ),
        ({"per_device_train_batch_size": 200}, "a step takes 1600 prompts .* and the data has 1000"),
    ],
)
def test_what_verl_cannot_honour_is_refused_by_name(train, message):
    with pytest.raises(InputError, match=message):
        settings(train)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "simct"}, "objective 'simct' has a loss of its own"),
        ({"objective": "strict", "objective_options": {"top_k": 8}}, "objective 'strict' has a loss of its own"),
        ({"objective": "auto"}, "objective 'auto' is chosen by a trainer of ours"),
        ({"lora": {"r": 8, "use_dora": True}}, r"\[lora\] use_dora cannot be honoured"),
        ({"lora": {"r": 8}}, r"\[lora\] target_modules is not set, and verl would take all linear layers"),
    ],
)
def test_what_a_run_file_names_and_verl_has_not(fields, message):
    with pytest.raises(InputError, match=message):
        settings(**fields)


@pytest.mark.parametrize(
    "same", [{"optim": "adamw_torch"}, {"optim": "adamw_torch_fused"}, {"logging_steps": 1}], ids=str
)
def test_settings_that_are_what_verl_does(same):
    assert settings(same) == settings()


def test_a_step_of_verl_is_a_rollout_with_all_of_its_updates():
    """Ours counts optimisation steps: 60 of them with two a rollout are 30 rollouts."""
    train = {"num_iterations": 2, "max_steps": 60, "save_steps": 10, "eval_strategy": "steps", "eval_steps": 20}
    train |= {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 6}
    made = settings(train, replace(LAUNCH, eval_file="eval.parquet"))
    expected = {
        f"{ACTOR}.ppo_epochs": 2,
        f"{ACTOR}.optim.lr_warmup_steps": 3,
        "trainer.total_training_steps": 30,
        "trainer.total_epochs": 30,
        "trainer.save_freq": 5,
        "trainer.test_freq": 10,
    }
    assert {key: made[key] for key in expected} == expected
    with pytest.raises(InputError, match="max_steps = 61 ends amid a rollout, which has num_iterations = 2"):
        settings({**train, "max_steps": 61})
    share = settings({**train, "eval_steps": 0.25}, replace(LAUNCH, eval_file="eval.parquet"))
    assert share["trainer.test_freq"] == 8


@pytest.mark.parametrize("credit", ["semantic_prior", "uniform", "first", "last"])
def test_every_credit_of_sampled_signals(credit):
    made = settings(objective_options={"credit": credit})
    assert check_settings(composed(made)).make_objective().signal.value == "sampled"


def test_marginal_credit_by_top_k():
    made = settings(objective_options={"credit": "marginal", "top_k": 16})
    assert check_settings(composed(made)).make_objective().signal.value == "topk"


@pytest.mark.parametrize(("bf16", "name"), [(True, "bf16"), (False, "fp32")])
def test_precision_is_that_of_the_forward_pass(bf16, name):
    precision = settings({"bf16": bf16})[f"{ACTOR}.fsdp_config.mixed_precision"]
    assert precision == {"param_dtype": name, "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def test_lora():
    made = settings(lora={"r": 4, "lora_alpha": 16, "target_modules": ["q_proj"]})
    keys = ("lora_rank", "lora_alpha", "target_modules")
    assert [made[f"actor_rollout_ref.model.{key}"] for key in keys] == [4, 16, ["q_proj"]]


# ---- data


def test_rows_of_verl():
    rows = [{"prompt": [{"role": "user", "content": "1 + 1?"}], "teacher": "a", "answer": 2}]
    assert verl_rows(rows, "sums") == [
        {
            "data_source": "sums",
            "prompt": [{"role": "user", "content": "1 + 1?"}],
            "reward_model": {"style": "rule", "ground_truth": "2"},
            "extra_info": {"index": 0},
            "teacher": "a",
        }
    ]
    with pytest.raises(InputError, match="prompt 0 is a text, and verl's prompts are conversations"):
        verl_rows([{"prompt": "Once upon a time"}])


RUN_FILE = """
student = "{student}"
teacher = "{url}"
teacher_tokenizer = "{teacher}"
dataset = "{rows}"
eval_dataset = "{rows}"
eval_rows = 3
[train]
lr_scheduler_type = "constant"
bf16 = false
per_device_train_batch_size = 2
max_steps = 5
"""


def test_the_command_writes_a_configuration_and_prompts(tmp_path: Path):
    rows, file, out = tmp_path / "rows.jsonl", tmp_path / "run.toml", tmp_path / "out"
    lines = [str({"prompt": message(problem)}).replace("'", '"') for problem in problems("train", 8, seed=1)]
    rows.write_text("\n".join(lines))
    file.write_text(RUN_FILE.format(student=asset("student"), teacher=asset("teacher"), url=URL, rows=rows))
    result = run("verl-config", str(file), "--output", str(out), "--gpus", "2")
    assert result.code == 0, result.err
    assert f"crossdistill verl-run --config-path {out} --config-name verl" in result.out
    written = yaml.safe_load((out / "verl.yaml").read_text())
    assert check_settings(composed(flat(written))).teacher == URL
    assert written["data"]["train_batch_size"] == 4
    assert written["trainer"]["test_freq"] == 5
    assert isinstance(written["actor_rollout_ref"]["actor"]["optim"]["lr"], float)
    files = {name: str(out / f"{name}.parquet") for name in ("train", "eval")}
    tables = {name: load_dataset("parquet", data_files=path, split="train") for name, path in files.items()}
    assert [len(tables["train"]), len(tables["eval"])] == [8, 3]
    assert tables["train"][0]["prompt"] == message(problems("train", 8, seed=1)[0])
    assert written["data"]["max_prompt_length"] < 40


def test_the_command_refuses_before_it_reads_data(tmp_path: Path):
    file = tmp_path / "run.toml"
    text = RUN_FILE.format(student=asset("student"), teacher=asset("teacher"), url=URL, rows=tmp_path / "none.jsonl")
    file.write_text(text + 'optim = "sgd"\n')
    message = run("verl-config", str(file), "--output", str(tmp_path / "out")).message
    assert message == "[train] optim cannot be honoured by verl, because verl trains with AdamW: leave it out."
    assert not (tmp_path / "out").exists()


def test_the_command_does_not_go_on_from_the_checkpoints_of_another_run(tmp_path: Path):
    rows, file, out = tmp_path / "rows.jsonl", tmp_path / "run.toml", tmp_path / "out"
    rows.write_text("\n".join(json.dumps({"prompt": message(problem)}) for problem in problems("train", 8, seed=1)))
    file.write_text(RUN_FILE.format(student=asset("student"), teacher=asset("teacher"), url=URL, rows=rows))
    command = ("verl-config", str(file), "--output", str(out), "--gpus", "2")
    assert run(*command).code == run(*command, "--set", "train.seed=8").code == 0
    (out / "checkpoints" / "global_step_2").mkdir(parents=True)
    assert run(*command, "--set", "train.seed=8", "--set", "train.min_coverage=0.3").code == 0
    assert "are of another configuration: train.seed (was 8, now 42)" in run(*command, "--set", "train.seed=42").message
    assert "gpus (was 2, now 4)" in run(*command[:-1], "4", "--set", "train.seed=8").message
    (out / "config.json").unlink()
    assert "no config.json says of which run: name a new folder" in run(*command).message
