"""Auxiliary heads are in the optimizer and in checkpoints, and in no saved student."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from crossdistill import InputError
from crossdistill.objectives import get
from crossdistill.objectives.shared import auxiliary_heads
from tests import tiny_models


def student(adapter: bool = False) -> torch.nn.Module:
    model = tiny_models.build("llama")
    if not adapter:
        return model
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], r=2))


def attached(model: torch.nn.Module, num_bytes: int = 2) -> torch.nn.Module:
    objective = get("bld", num_bytes=num_bytes)
    objective.attach(model)
    for parameter in objective.heads.parameters():
        torch.nn.init.normal_(parameter)
    return objective.heads


@pytest.mark.parametrize("adapter", [False, True])
def test_all_of_its_parameters_are_trained(adapter):
    model = student(adapter)
    heads = attached(model)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {f"{auxiliary_heads.NAME}.weight", f"{auxiliary_heads.NAME}.bias"} <= trained
    assert adapter == (len(trained) < len(list(model.parameters())))
    assert all(value.dtype == torch.float32 for value in heads.parameters())


def test_a_student_saved_without_it_is_plain(tmp_path):
    model = student()
    heads = attached(model)
    with auxiliary_heads.detached(model):
        assert auxiliary_heads.auxiliary_heads_of(model) is None
        model.save_pretrained(tmp_path)
    assert auxiliary_heads.auxiliary_heads_of(model) is heads
    again, report = LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert (
        set(again.state_dict()) == set(auxiliary_heads.without_heads(model.state_dict())) == set(student().state_dict())
    )


def test_it_comes_back_after_an_error():
    model = student()
    heads = attached(model)
    with pytest.raises(RuntimeError), auxiliary_heads.detached(model):
        raise RuntimeError
    assert auxiliary_heads.auxiliary_heads_of(model) is heads


def test_an_adapter_is_saved_without_it(tmp_path):
    model = student(adapter=True)
    attached(model)
    with auxiliary_heads.detached(model):
        model.save_pretrained(tmp_path)
    assert not any(auxiliary_heads.NAME.encode() in path.read_bytes() for path in tmp_path.glob("*.safetensors"))


def test_a_checkpoint_gives_it_back(tmp_path):
    model, other = student(), student()
    weight = attached(model).weight
    heads = attached(other)
    assert not torch.equal(heads.weight, weight)
    auxiliary_heads.save(model, tmp_path / "checkpoint-1")
    auxiliary_heads.load(other, tmp_path / "checkpoint-1")
    assert torch.equal(heads.weight, weight)


def test_only_the_writer_writes(tmp_path):
    model = student()
    attached(model)
    auxiliary_heads.save(model, tmp_path, is_writer=False)
    assert not list(Path(tmp_path).iterdir())


def test_a_student_without_one_saves_and_loads_nothing(tmp_path):
    get("dpca").attach(model := student())
    auxiliary_heads.save(model, tmp_path)
    auxiliary_heads.load(model, tmp_path)
    with auxiliary_heads.detached(model):
        pass
    assert auxiliary_heads.auxiliary_heads_of(model) is None
    assert not list(Path(tmp_path).iterdir())


def test_a_checkpoint_of_another_objective_is_refused(tmp_path):
    model = student()
    attached(model)
    with pytest.raises(InputError, match=r"has no auxiliary_heads\.safetensors"):
        auxiliary_heads.load(model, tmp_path)


def test_a_checkpoint_of_other_options_is_refused(tmp_path):
    model = student()
    attached(model)
    auxiliary_heads.save(model, tmp_path)
    attached(model, num_bytes=3)
    with pytest.raises(InputError, match="does not have the sizes that the objective's options ask for"):
        auxiliary_heads.load(model, tmp_path)
