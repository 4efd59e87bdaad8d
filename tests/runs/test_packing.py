"""Examples that share a row do not see each other, or the run is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from crossdistill.errors import InputError
from crossdistill.findings import FindingError
from crossdistill.runs.packing import check_apart
from crossdistill.runs.sft import sft_arguments
from tests.tiny_models import NAMES, build

IDS = list(range(5, 25))
COLLATE = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
MIXING = {
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=40, hidden_size=16, n_layer=2, n_head=2)),
    "falcon": lambda: FalconForCausalLM(
        FalconConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    ),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=40, hidden_size=16, state_size=4, num_hidden_layers=2, use_mambapy=False)
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            vocab_size=40,
            hidden_size=16,
            ffn_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            word_embed_proj_dim=16,
        )
    ),
}


def with_random_weights(model: Any) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_architectures_that_keep_examples_apart(name: str) -> None:
    model = build(name).train()
    check_apart(model, COLLATE, IDS)
    assert model.training


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.filterwarnings("ignore")
def test_architectures_that_do_not(name: str) -> None:
    model = with_random_weights(MIXING[name]())
    with pytest.raises(FindingError, match=f"{type(model).__name__}.* does not keep examples apart"):
        check_apart(model, COLLATE, IDS)


def test_packing_that_cuts_examples_is_refused(tmp_path: Path) -> None:
    options = {"use_cpu": True, "bf16": False, "packing": True, "max_length": 64}
    assert sft_arguments(tmp_path, options).packing
    with pytest.raises(InputError, match="'wrapped' cuts examples"):
        sft_arguments(tmp_path, {**options, "packing_strategy": "wrapped"})
