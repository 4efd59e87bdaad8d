"""What accelerate makes of a launch."""

from pathlib import Path

import pytest

from crossdistill.errors import InputError
from crossdistill.inspection.memory import Engine
from crossdistill.train.launch import Launch

RECIPES = Path(__file__).parents[2] / "recipes" / "accelerate"
ENGINES = {"ddp": Engine.DDP, "fsdp2": Engine.FSDP, "zero2": Engine.ZERO2, "zero3": Engine.ZERO3}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes(path):
    launch = Launch.from_file(path)
    assert launch == Launch(ENGINES[path.stem], 8, precision="bf16")
    assert launch.engine(is_on_cpu=False) is ENGINES[path.stem]
    assert list(launch.sentences(is_on_cpu=False)) == [f"{ENGINES[path.stem]}, 8 processes, on a GPU each"]


def test_fsdp_on_a_cpu_is_ddp():
    launch = Launch(Engine.FSDP, 2)
    assert launch.engine(is_on_cpu=True) is Engine.DDP
    assert list(launch.sentences(is_on_cpu=True)) == [
        "DDP, 2 processes, on the CPU",
        "FSDP2 was asked for: accelerate does not use it on a CPU, so each process holds the whole student",
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Launch(Engine.ONE)),
        ({"WORLD_SIZE": "4", "RANK": "3"}, Launch(Engine.DDP, 4, is_first=False)),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}, Launch(Engine.DDP, 2, is_on_cpu=True)),
        (
            {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            Launch(Engine.FSDP, 2, offloads=True),
        ),
        (
            {"WORLD_SIZE": "2", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
            | {"ACCELERATE_MIXED_PRECISION": "bf16"},
            Launch(Engine.ZERO3, 2, precision="bf16"),
        ),
    ],
)
def test_the_environment(variables, expected):
    assert Launch.from_environment(variables) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "FSDP 1, which no run was made with"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 1}", "ZeRO-1, which"),
        ("distributed_type: MEGATRON_LM", "MEGATRON_LM, which"),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: ds.json}",
            "leaves the stage to ds.json",
        ),
        ("num_processes: 2", "names no distributed_type"),
        ("[", "cannot be read"),
    ],
)
def test_refusals(tmp_path, text, reason):
    (tmp_path / "launch.yaml").write_text(text)
    with pytest.raises(InputError, match=reason):
        Launch.from_file(tmp_path / "launch.yaml")


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Launch.from_file(tmp_path / "launch.yaml")
