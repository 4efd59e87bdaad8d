"""The settings of a run: what was set, and what was left at a default."""

from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.settings import settings
from crossdistill.runs.sft import sft_arguments
from crossdistill.train import CrossTokenizerConfig

MODELS = {"student": "S", "teacher": "T", "dataset": "prompts.jsonl"}


def settings_of(tmp_path, **fields):
    config = RunConfig(**MODELS, **fields)
    told = config.trainer_arguments()
    return settings(config, CrossTokenizerConfig(str(tmp_path), **{"use_cpu": True, "bf16": False, **told}), told)


def test_ours_come_first_and_defaults_are_apart(tmp_path):
    found = settings_of(tmp_path, train={"learning_rate": 1e-4, "stop_unit": False}, lora={"r": 4})
    assert found["given"] == {
        **MODELS,
        "objective": "dpca",
        "objective_options": {},
        "train.stop_unit": False,
        "train.learning_rate": 1e-4,
        "lora.r": 4,
    }
    assert list(found["given"]).index("train.stop_unit") < list(found["given"]).index("train.learning_rate")
    assert found["defaults"]["prompt_column"] == "prompt"
    assert found["defaults"]["train.low_coverage"] == "stop"
    assert found["library_defaults"]["train.adam_beta1"] == 0.9
    assert not {"train.output_dir", "train.objective"} & {key for group in found.values() for key in group}
    groups = [set(group) for group in found.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_what_a_preset_sets_is_given(tmp_path):
    given = settings_of(tmp_path, preset="paper", train={"bf16": False})["given"]
    assert given["preset"] == "paper"
    assert given["train.learning_rate"] == 1e-6
    assert given["objective_options"]["credit"] == "semantic_prior"


def test_a_token_of_the_hub_is_not_written(tmp_path):
    found = settings_of(tmp_path, train={"hub_token": "hf_secret"})
    assert "hf_secret" not in str(found)


def test_sft(tmp_path):
    config = SFTRunConfig(student="S", dataset="rows.jsonl", temperature=0.5, train={"max_steps": 3})
    found = settings(config, sft_arguments(tmp_path, config.train), config.train)
    assert found["given"] == {"student": "S", "dataset": "rows.jsonl", "temperature": 0.5, "train.max_steps": 3}
    assert found["defaults"]["batch_size"] == 16
    assert found["library_defaults"]["train.adam_beta1"] == 0.9
