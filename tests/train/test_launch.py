"""What accelerate makes of a launch."""

import json
from pathlib import Path

import pytest
import torch

from crossdistill.errors import InputError
from crossdistill.findings import FindingError
from crossdistill.inspection.memory import Engine
from crossdistill.train.launch import Launch

RECIPES = Path(__file__).parents[2] / "recipes" / "accelerate"
ENGINES = {"ddp": Engine.DDP, "fsdp2": Engine.FSDP, "zero2": Engine.ZERO2, "zero3": Engine.ZERO3}


ZERO3 = {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, "bf16": {"enabled": True}}
TOGETHER = {"WORLD_SIZE": "2", "RANK": "0"}


def of(variables, options=None, **kwargs):
    return Launch.of_variables(variables, options or {}, **kwargs)


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "ds3.json"
    path.write_text(json.dumps(ZERO3))
    return str(path)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes(path):
    launch, engine = Launch.of({}, path), ENGINES[path.stem]
    assert launch == Launch(engine, engine, 8, precision="bf16")
    assert list(launch.sentences()) == [f"{engine}, 8 processes, on a GPU each"]


@pytest.mark.parametrize("asked", ["fsdp2", "zero3"])
def test_on_a_cpu_accelerate_trains_with_ddp(asked):
    launch = Launch.of({"use_cpu": True}, RECIPES / f"{asked}.yaml")
    assert (launch.asked, launch.engine) == (ENGINES[asked], Engine.DDP)
    assert list(launch.sentences()) == [
        "DDP, 8 processes, on the CPU",
        f"{ENGINES[asked]} was asked for: accelerate does not use it on a CPU, so each process holds the whole student",
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Launch(Engine.ONE, Engine.ONE)),
        ({"WORLD_SIZE": "4", "RANK": "3"}, Launch(Engine.DDP, Engine.DDP, 4, is_first=False)),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}, Launch(Engine.DDP, Engine.DDP, 2, is_on_cpu=True)),
        (
            {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            Launch(Engine.FSDP, Engine.FSDP, 2, offloads=True),
        ),
        (
            {"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
            | {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_DYNAMO_BACKEND": "NO"},
            Launch(Engine.ZERO3, Engine.ZERO3, 2, precision="bf16"),
        ),
    ],
)
def test_the_environment(variables, expected):
    assert of(variables) == expected


def test_deepspeeds_own_file_names_the_stage(tmp_path, config_file):
    expected = Launch(Engine.ZERO3, Engine.ZERO3, 2, offloads=True, precision="bf16")
    variables = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": config_file}
    assert of(TOGETHER | variables) == expected
    assert of(TOGETHER, {"deepspeed": config_file}) == expected
    assert of(TOGETHER, {"deepspeed": ZERO3}) == expected
    assert of(TOGETHER, {"deepspeed": json.dumps(ZERO3)}) == expected
    path = tmp_path / "launch.yaml"
    path.write_text(
        f"distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: {{deepspeed_config_file: {config_file}}}"
    )
    assert Launch.of({}, path) == expected


def test_fsdp_in_the_run_file():
    assert of(TOGETHER, {"fsdp": "full_shard"}) == Launch(Engine.FSDP, Engine.FSDP, 2)
    assert of(TOGETHER, {"fsdp": "full_shard offload"}).offloads
    assert of(TOGETHER, {"fsdp": True, "fsdp_config": {"fsdp_cpu_offload": True}}).offloads
    with pytest.raises(InputError, match="FSDP 1, which"):
        of(TOGETHER, {"fsdp": True, "fsdp_config": {"version": 1}})
    alone = of({}, {"fsdp": True})
    assert (alone.asked, alone.engine) == (Engine.FSDP, Engine.ONE)
    assert list(alone.sentences())[1] == "FSDP2 was asked for: there is one process alone"


def test_a_compiled_student_is_refused(tmp_path):
    path = tmp_path / "launch.yaml"
    for text in ("dynamo_backend: INDUCTOR", "dynamo_config: {dynamo_backend: INDUCTOR}"):
        path.write_text(f"distributed_type: MULTI_GPU\n{text}")
        with pytest.raises(InputError, match="asks for a compiled student"):
            Launch.of({}, path)
    with pytest.raises(InputError, match="asks for a compiled student"):
        of({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"})


def test_words_without_quotes(tmp_path):
    """YAML reads NO as False."""
    path = tmp_path / "launch.yaml"
    path.write_text("distributed_type: NO\nmixed_precision: no\ndynamo_backend: NO\nnum_processes: 1")
    assert Launch.of({}, path) == Launch(Engine.ONE, Engine.ONE)


def test_processes_without_gpus_would_train_apart():
    fsdp = TOGETHER | {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    for options in ({}, {"ddp_backend": "gloo"}):
        with pytest.raises(FindingError, match="2 processes were launched"):
            of(fsdp, options | {"use_cpu": False}, has_device=False)
    for options in ({}, {"use_cpu": True}):
        assert of(fsdp, options, has_device=False).engine is Engine.DDP
    zero = {"deepspeed": ZERO3, "use_cpu": False, "ddp_backend": "gloo"}
    assert of(TOGETHER, zero, has_device=False).engine is Engine.ZERO3
    assert of({}, has_device=False) == Launch(Engine.ONE, Engine.ONE, is_on_cpu=True)


def test_this_process(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert Launch.of({}).is_on_cpu
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Launch.of({}).engine is Engine.DDP
    with pytest.raises(FindingError, match="2 processes were launched"):
        Launch.of({"use_cpu": False})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "FSDP 1, which no run was made with"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 1}", "ZeRO-1, which"),
        ("distributed_type: MEGATRON_LM", "MEGATRON_LM, which"),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: ds.json}",
            r"DeepSpeed's configuration ds\.json cannot be read",
        ),
        ("distributed_type: MULTI_GPU\nnum_processes: null", "num_processes: None: give the number of GPUs"),
        ("num_processes: 2", "names no distributed_type"),
        ("[", "cannot be read"),
        ("- 1", "holds no table"),
    ],
)
def test_refusals(tmp_path, text, reason):
    (tmp_path / "launch.yaml").write_text(text)
    with pytest.raises(InputError, match=reason):
        Launch.of({}, tmp_path / "launch.yaml")


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Launch.of({}, tmp_path / "launch.yaml")
