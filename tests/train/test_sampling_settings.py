"""What a configuration may say about sampling: each setting of the engine is honoured, or refused by name."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig

from crossdistill.findings import FindingError
from crossdistill.train import CrossTokenizerConfig, sampling_settings
from crossdistill.train.config import PRESETS
from crossdistill.train.sampling_settings import check_ids, shaping_settings

SHAPING = {
    "top_p": 0.9,
    "top_k": 20,
    "top_h": 0.4,
    "min_p": 0.05,
    "typical_p": 0.8,
    "epsilon_cutoff": 1e-3,
    "eta_cutoff": 1e-3,
    "repetition_penalty": 1.1,
    "encoder_repetition_penalty": 1.1,
    "no_repeat_ngram_size": 3,
    "encoder_no_repeat_ngram_size": 3,
    "bad_words_ids": [[5]],
    "suppress_tokens": [5],
    "begin_suppress_tokens": [5],
    "sequence_bias": [[[5], 1.0]],
    "min_new_tokens": 4,
    "exponential_decay_length_penalty": (3, 1.1),
    "guidance_scale": 1.5,
    "watermarking_config": {"bias": 1.0},
    "cache_implementation": "quantized",
}
NOT_SHAPING = {
    "use_cache": True,
    "cache_config": {},
    "max_cache_len": 64,
    "prefill_chunk_size": 8,
    "renormalize_logits": True,
    "temperature": 1.0,
}
NOT_SHAPING = {name: value for name, value in NOT_SHAPING.items() if hasattr(GenerationConfig(), name)}
REFUSED = {
    "max_length": 9,
    "max_new_tokens": 9,
    "min_length": 9,
    "early_stopping": True,
    "max_time": 1.0,
    "stop_strings": ["."],
    "do_sample": False,
    "num_beams": 3,
    "use_mtp": True,
    "length_penalty": 2.0,
    "forced_bos_token_id": 1,
    "forced_eos_token_id": 1,
    "remove_invalid_values": True,
    "token_healing": True,
    "num_return_sequences": 2,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_scores": True,
    "output_logits": True,
    "return_dict_in_generate": True,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
    "is_assistant": True,
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.3,
    "prompt_lookup_num_tokens": 3,
    "max_matching_ngram_size": 3,
    "assistant_early_exit": 3,
    "assistant_lookbehind": 3,
    "target_lookbehind": 3,
    "assistant_ensemble_weight": 0.5,
    "speculation_type": "dflash",
    "compile_config": {},
    "disable_compile": True,
    "continuous_batching_config": {"x": 1},
    "low_memory": True,
    "penalty_alpha": 0.6,
    "dola_layers": "low",
    "diversity_penalty": 1.0,
    "num_beam_groups": 2,
    "constraints": ["x"],
    "force_words_ids": [[1]],
}


def config(**options: Any) -> CrossTokenizerConfig:
    return CrossTokenizerConfig("out", **{**options, "use_cpu": True, "bf16": False, "report_to": "none"})


@pytest.fixture
def quantizing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the library of the quantized cache were installed."""
    monkeypatch.setattr(sampling_settings, "QuantizedCache", dict)


def test_a_quantized_cache_needs_its_library(monkeypatch):
    def missing(**options: Any) -> None:
        raise ImportError("You need to install optimum-quanto")

    monkeypatch.setattr(sampling_settings, "QuantizedCache", missing)
    for options in (
        {"generation_kwargs": {"cache_implementation": "quantized"}},
        {"cache_implementation": "quantized"},
    ):
        with pytest.raises(FindingError, match=r"'quantized' is not possible \(You need to install optimum-quanto\)"):
            config(**options)


def warnings_of(**options: Any) -> list[str]:
    return [finding.message for finding in shaping_settings(config(**options))]


def test_every_setting_of_generate_has_its_case():
    """A new release of transformers with new settings shows up here."""
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")} - {"transformers_version"}
    assert known - {*SHAPING, *NOT_SHAPING, *REFUSED} == set()


@pytest.mark.parametrize(("name", "value"), [*REFUSED.items(), ("cache_implementation", "paged"), ("temperature", 0.5)])
def test_what_cannot_be_honoured_is_refused_by_name(name, value):
    if name == "compile_config":
        value = object()
    with pytest.raises(FindingError, match=rf"^{name} = .* cannot be honoured, because .*: .*\.$"):
        config(generation_kwargs={name: value})


@pytest.mark.parametrize("name", ["custom_generate", "logits_processor", "stopping_criteria", "assistant_model"])
def test_arguments_of_generate_are_no_settings(name):
    with pytest.raises(FindingError, match=f"^{name} = 'x' cannot be honoured, because it is an argument of generate"):
        config(generation_kwargs={name: "x"})


@pytest.mark.parametrize("name", ["max_new_tokens", "do_sample", "temperature", "top_k", "pad_token_id"])
def test_none_does_not_take_the_place_of_the_runs_own_value(name):
    with pytest.raises(FindingError, match=f"^{name} = None "):
        config(generation_kwargs={name: None})


@pytest.mark.parametrize(("name", "value"), SHAPING.items())
def test_what_shapes_samples_is_honoured_and_told(quantizing, name, value):
    if not hasattr(GenerationConfig(), name):
        pytest.skip("this release of transformers has no such setting")
    (warning,) = warnings_of(generation_kwargs={name: value})
    assert f"shaped by {name} = " in warning


def test_one_warning_for_all():
    (warning,) = warnings_of(top_p=0.9, min_p=0.1, generation_kwargs={"no_repeat_ngram_size": 3})
    assert "by top_p = 0.9, min_p = 0.1, no_repeat_ngram_size = 3, so" in warning


@pytest.mark.parametrize("name", ["top_p", "top_k", "min_p", "repetition_penalty", "cache_implementation"])
def test_fields_of_the_configuration_too(quantizing, name):
    assert warnings_of(**{name: SHAPING[name]})


@pytest.mark.parametrize(
    "options",
    [
        {},
        PRESETS["paper"],
        {"temperature": 0.7, "objective": "dpca"},
        {"generation_kwargs": NOT_SHAPING},
        {"generation_kwargs": {"num_beams": 1, "do_sample": True, "num_return_sequences": 1, "use_mtp": False}},
        {"generation_kwargs": {"top_p": 1.0, "top_k": 0, "min_p": None, "stop_strings": None, "min_length": 0}},
        {"generation_kwargs": '{"use_cache": true}'},
        {"top_p": 1, "min_p": 0.0, "repetition_penalty": 1, "cache_implementation": "dynamic"},
    ],
)
def test_nothing_is_said_of_settings_that_shape_nothing(options):
    assert warnings_of(**options) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"temprature": 2.0},
            r"key 'temprature', which generate\(\) does not know.*: perhaps you mean 'temperature'",
        ),
        ({"topp": 0.9}, r"perhaps you mean 'top_p'\.$"),
        ({"wishes": 3}, r"take a field of transformers\.GenerationConfig\.$"),
        ({"min_p": 7}, r"min_p = 7 is not possible \(.*\): change it"),
        ({"top_p": "0.9"}, r"top_p = '0\.9' is not possible \(it must be a number\)"),
        ({"bad_words_ids": ["x"]}, r"bad_words_ids = \['x'\] is not possible"),
        ({"cache_implementation": "sttic"}, r"is not possible \(Invalid `cache_implementation` \(sttic\)"),
        ({"top_k": -1}, "top_k = -1 is not possible"),
        ({"no_repeat_ngram_size": True}, r"no_repeat_ngram_size = True is not possible \(it must be a number\)"),
        ({"cache_implementation": "offloaded"}, r"'offloaded' is not possible \(the run is on a CPU\)"),
        ({"cache_implementation": "offloaded_static"}, r"'offloaded_static' is not possible"),
        ({"cache_implementation": "quantized", "cache_config": {"backend": "?"}}, "'quantized' is not possible"),
    ],
)
def test_unknown_and_impossible_settings(given, said):
    with pytest.raises(FindingError, match=said):
        config(generation_kwargs=given)


@pytest.mark.parametrize("options", [{"top_p": 1.5}, {"top_k": -2}, {"min_p": -0.1}, {"repetition_penalty": 0.0}])
def test_impossible_fields(options):
    with pytest.raises(FindingError, match=f"{next(iter(options))} = .* is not possible"):
        config(**options)


# --- vLLM


class SamplingParams:
    def __init__(self, n: int = 1, presence_penalty: float = 0.0, seed: int | None = None, max_tokens: int = 16):
        """Some of the real one's parameters; with the installed release, `n` and the like are refused all the same."""


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SamplingParams))


@pytest.mark.parametrize("name", ["n", "max_tokens", "stop", "stop_token_ids", "ignore_eos", "logprobs", "best_of"])
def test_what_vllm_cannot_honour(vllm, name):
    with pytest.raises(FindingError, match=f"^{name} = 2 cannot be honoured"):
        config(use_vllm=True, generation_kwargs={name: 2})


def test_the_keys_of_vllm_are_those_of_its_sampling_parameters(vllm):
    with pytest.raises(FindingError, match=r"'presense_penalty', which vLLM .* perhaps you mean 'presence_penalty'\.$"):
        config(use_vllm=True, generation_kwargs={"presense_penalty": 1.0})
    with pytest.raises(FindingError, match=r"take a field of vllm\.SamplingParams"):
        config(use_vllm=True, generation_kwargs={"no_repeat_ngram_size": 2})
    assert warnings_of(use_vllm=True, generation_kwargs={"seed": 3, "n": 1}) == []
    assert "presence_penalty = 0.2" in warnings_of(use_vllm=True, generation_kwargs={"presence_penalty": 0.2})[0]


def test_other_names_of_no_limit_in_vllm(vllm):
    assert warnings_of(use_vllm=True, top_k=-1) == []
    assert "vllm_structured_outputs_regex" in warnings_of(use_vllm=True, vllm_structured_outputs_regex="[0-9]+")[0]


IDS = {
    "bad_words_ids": [[5], [6, 99]],
    "suppress_tokens": [5, 99],
    "begin_suppress_tokens": [99],
    "sequence_bias": [[[5, 99], 1.0]],
    "logit_bias": {99: 1.0},
    "allowed_token_ids": [5, 99],
}


@pytest.mark.parametrize("name", IDS)
def test_ids_that_the_student_lacks_are_refused(name):
    args = SimpleNamespace(generation_kwargs={name: IDS[name]})
    with pytest.raises(FindingError, match=rf"^{name} = .* has 99 embeddings, and the token id 99 is beyond them"):
        check_ids(args, num_ids=99)
    check_ids(args, num_ids=100)


@pytest.mark.parametrize("given", [None, {}, {"top_k": 200}, {"bad_words_ids": None}, {"bad_words_ids": [[5]]}])
def test_other_numbers_are_no_ids(given):
    check_ids(SimpleNamespace(generation_kwargs=given), num_ids=99)
