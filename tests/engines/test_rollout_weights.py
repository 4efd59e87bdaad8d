"""The weights that a vLLM server is sent are whole under each engine, with adapters merged."""

import pytest
import torch
from safetensors.torch import load_file

from tests.engines import launch as launching
from tests.engines.case import Case
from tests.engines.zero import ZERO

pytestmark = pytest.mark.engines

CASES = [Case("plain"), Case("adapter", lora=True)]
PREFIX = "base_model.model."


def merged(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a student with an adapter, of rank 4 and alpha 8, in it."""
    found = {}
    for name, value in weights.items():
        layer = name.removesuffix("base_layer.weight")
        plain = name.removeprefix(PREFIX).replace(".base_layer", "")
        if layer != name:
            scaled = 2 * weights[f"{layer}lora_B.default.weight"] @ weights[f"{layer}lora_A.default.weight"]
            found[plain] = value + scaled
        elif ".lora_" not in name:
            found[plain] = value
    return found


@pytest.mark.parametrize("engine", ["ddp", "fsdp2", *ZERO])
def test_a_server_is_sent_the_whole_student(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(launching, "WORKER", "tests.engines.rollout_weights")
    outcomes = launching.launch(engine, 2, CASES, tmp_path)
    for name, outcome in outcomes.items():
        for step in (1, 2):
            sent = load_file(tmp_path / name / f"sent-{step}.safetensors")
            expected = merged(outcome.weights[step])
            assert sent.keys() == expected.keys()
            apart = [key for key in expected if not torch.allclose(sent[key], expected[key], atol=1e-6, rtol=1e-5)]
            assert apart == []
        assert not list((tmp_path / name / "weights").iterdir())
