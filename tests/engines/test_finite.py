"""A weight that overflows in the part of one process ends the run in all, before it is saved."""

import pytest

from tests.engines.case import Case
from tests.engines.launch import launch
from tests.engines.zero import ZERO

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("engine", ["ddp", "fsdp2", *ZERO])
def test_it_is_told_by_name(tmp_path, engine):
    case = Case("overflow", fault="weight_overflows", options={"save_strategy": "steps", "save_steps": 1})
    result = launch(engine, 2, [case], tmp_path)["overflow"].result
    assert result["step"] == 1
    assert "not finite after step 1: the weight model.embed_tokens.weight (float32) overflowed" in result["told"]
    assert not list((tmp_path / "overflow").glob("checkpoints/checkpoint-*"))
