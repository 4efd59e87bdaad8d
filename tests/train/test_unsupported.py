"""Settings that a run cannot honour are refused if they are set, and only then."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl import SFTConfig

from crossdistill.errors import InputError
from crossdistill.runs.keys import SFT_TRAIN, TRAIN
from crossdistill.runs.sft import sft_arguments
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.unsupported import UNSUPPORTED, UNSUPPORTED_IN_SFT, check_loading
from tests.models import Pair
from tests.train.harness import load, make_trainer

SET: dict[str, Any] = {
    "beta": 0.5,
    "bf16_full_eval": True,
    "data_seed": 7,
    "fp16_full_eval": True,
    "label_smoothing_factor": 0.1,
    "pad_to_multiple_of": 8,
    "teacher_model_name_or_path": "org/another",
    "torch_compile": True,
    "torch_compile_backend": "eager",
    "torch_compile_mode": "default",
    "train_sampling_strategy": "group_by_length",
}
SET_IN_SFT: dict[str, Any] = {
    "chat_template_path": "template.jinja",
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "dataset_text_field": "prompt",
    "eos_token": "<|user|>",
    "eval_packing": True,
    "truncation_mode": "none",
}


def test_there_is_a_value_for_each() -> None:
    assert (set(SET), set(SET_IN_SFT)) == (set(UNSUPPORTED), set(UNSUPPORTED_IN_SFT))


def _told(name: str) -> str:
    """transformers sets torch_compile if one of its options is set."""
    return "torch_compile" if name.startswith("torch_compile") else name


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_refused_of_the_trainer(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{_told(name)} cannot be set here: "):
        CrossTokenizerConfig(str(tmp_path), bf16=False, use_cpu=True, **{name: SET[name]})


@pytest.mark.parametrize("name", UNSUPPORTED_IN_SFT)
def test_refused_of_sft(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be set here: "):
        sft_arguments(tmp_path, {"use_cpu": True, "bf16": False, name: SET_IN_SFT[name]})


def test_what_a_run_does_anyway_may_be_set(tmp_path: Path) -> None:
    cpu = {"use_cpu": True, "bf16": False}
    CrossTokenizerConfig(str(tmp_path), beta=1.0, pad_to_multiple_of=None, train_sampling_strategy="random", **cpu)
    sft_arguments(tmp_path, {**cpu, "completion_only_loss": True, "label_smoothing_factor": 0.1, "loss_type": "dft"})


def test_they_are_no_keys_of_a_run_file() -> None:
    assert set(UNSUPPORTED).isdisjoint(TRAIN.names)
    assert set(UNSUPPORTED_IN_SFT).isdisjoint(SFT_TRAIN.names)


def test_they_are_fields_of_the_configurations() -> None:
    assert set(UNSUPPORTED) <= set(CrossTokenizerConfig.__dataclass_fields__)
    assert set(UNSUPPORTED_IN_SFT) <= set(SFTConfig.__dataclass_fields__)


@pytest.mark.parametrize("side", ["", "teacher_"])
def test_options_of_loading_with_a_model_that_is_loaded(side: str) -> None:
    name, loaded = f"{side}model_init_kwargs", object()
    with pytest.raises(InputError, match=f"{name} sets attn_implementation, dtype of a model that is loaded already"):
        check_loading(name, {"dtype": "float16", "attn_implementation": "eager", "revision": "a"}, [loaded])
    check_loading(name, {"dtype": "float16"}, [loaded, "org/model"])
    check_loading(name, {"revision": "a"}, [loaded])
    check_loading(name, None, [loaded])


def test_a_run_with_a_loaded_student_and_options_of_loading_is_refused(pair: Pair, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    with pytest.raises(InputError, match="model_init_kwargs sets dtype"):
        make_trainer(
            pair,
            tmp_path,
            student=load(pair.student),
            trainer_options={"processing_class": tokenizer},
            model_init_kwargs={"dtype": "bfloat16"},
        )
