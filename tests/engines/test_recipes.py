"""The recipes that users launch with: read by accelerate, and a small part of `make test-engines`."""

import pytest
from accelerate.commands.config import load_config_from_file
from accelerate.utils import DistributedType

from tests.engines import cases
from tests.engines.case import Case
from tests.engines.compare import difference
from tests.engines.launch import RECIPES, launch

KINDS = {
    "ddp": DistributedType.MULTI_GPU,
    "fsdp2": DistributedType.FSDP,
    "zero2": DistributedType.DEEPSPEED,
    "zero3": DistributedType.DEEPSPEED,
}


def test_each_recipe_is_tested():
    assert {path.stem for path in RECIPES.iterdir()} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it(name):
    recipe = load_config_from_file(str(RECIPES / f"{name}.yaml"))
    assert recipe.distributed_type == KINDS[name]
    assert recipe.mixed_precision == "bf16"
    assert not recipe.use_cpu
    stages = {"zero2": 2, "zero3": 3}
    assert recipe.deepspeed_config.get("zero_stage") == stages.get(name)
    assert recipe.fsdp_config.get("fsdp_version") == (2 if name == "fsdp2" else None)


@pytest.mark.slow
def test_a_head_that_fsdp2_shards_by_itself_has_the_gradient_of_one_process(untied, tmp_path):
    assert_equal([Case("head", "bpm", student=untied, environment=cases.FSDP["head-by-itself"])], tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_fsdp2_computes_what_one_process_does(tmp_path):
    """An objective of each class, and an adapter."""
    assert_equal([Case("dpca"), Case("bld", "bld", options=cases.SMALL_RATE), Case("lora", "bpm", lora=True)], tmp_path)


def assert_equal(chosen, folder):
    one, two = (launch(engine, number, chosen, folder / engine) for engine, number in (("one", 1), ("fsdp2", 2)))
    for case in chosen:
        found = difference(one[case.name], two[case.name])
        assert max(found.loss, found.gradient) < 1e-5, (case.name, found)
