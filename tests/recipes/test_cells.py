"""Cells and their commands: the run file of each cell passes the check of its command."""

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crossdistill.cli.evaluation import server_options, values_of
from crossdistill.errors import InputError
from crossdistill.eval.presets import preset
from crossdistill.eval.tasks import get
from crossdistill.integrations.verl.checks import check_settings
from crossdistill.integrations.verl.run_file import Launch, verl_settings
from crossdistill.runs.config import RunConfig, SFTRunConfig, build, read_config
from crossdistill.runs.sft import sft_arguments
from crossdistill.train import CrossTokenizerConfig
from recipes.paper.cells import METHODS, Cell, cells, chosen
from recipes.paper.settings import FOLDER, Settings, read_settings
from recipes.paper.stage import Stage
from tests.integrations.verl.pair import composed
from tests.recipes.small import SMALL

SERVED = '[pairs.llama]\nserved = "http://teacher:8000"\n[pairs.qwen]\nserved = "http://teacher:8000"\n'


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The committed ones, with a server of each teacher, so that verl has one to ask."""
    path = tmp_path_factory.mktemp("settings") / "served.toml"
    path.write_text(SERVED)
    return read_settings([path])


def options(stage: Stage, name: str) -> list[str]:
    return [value for option, value in pairwise(stage.argv) if option == name]


def option(stage: Stage, name: str) -> str | None:
    return next(iter(options(stage, name)), None)


def config_of(cell: Cell, file_at: int) -> Any:
    """The run file of a cell's training, as its command reads it."""
    stage = next(cell.stages())
    is_sft = METHODS[cell.method].command == "sft"
    names = ("student", "dataset", "teacher") if is_sft else ("student", "dataset", "teacher", "teacher_tokenizer")
    named = {name: option(stage, f"--{name.replace('_', '-')}") for name in names}
    return read_config(SFTRunConfig if is_sft else RunConfig, Path(stage.argv[file_at]), options(stage, "--set"), named)


TRAINED = [cell.name for cell in cells(read_settings(), with_ours=True) if cell.name != "r1/sft"]


@pytest.mark.parametrize("name", TRAINED)
def test_run_files_pass_the_check_of_their_command(name, settings, tmp_path):
    cell = next(one for one in cells(settings, with_ours=True) if one.name == name)
    command = METHODS[cell.method].command
    stage = next(cell.stages())
    config = config_of(cell, stage.argv.index("verl-config" if command == "verl" else command) + 1)
    if command == "sft":
        made = sft_arguments(tmp_path, {**config.train, "bf16": False, "use_cpu": True})
    else:
        # a CPU computes in float32, and there is no vLLM: both are of the machine
        options = {"output_dir": str(tmp_path), **config.trainer_arguments(), "bf16": False, "use_cpu": True}
        made = build(CrossTokenizerConfig, "train", options)
        assert made.make_objective().name == {"alm": "alm", "cdm": "cdm"}.get(cell.method, "dpca")
    samples = 400_000 if cell.method == "sft" else 20_000
    each_step = made.per_device_train_batch_size * made.gradient_accumulation_steps * settings.hardware.processes
    assert each_step == 128
    assert samples - 128 < made.max_steps * each_step <= samples
    assert 0 <= 2 * made.save_steps - made.max_steps / 2 <= 2  # the figure's checkpoint
    assert made.seed == 0
    assert made.max_grad_norm == 1.0
    assert config.train.get("bf16", config.trainer_arguments().get("bf16") if command != "sft" else None)


def test_distillation_has_the_papers_settings(settings):
    cell = next(one for one in cells(settings) if one.name == "llama/opd-0")
    config = config_of(cell, next(cell.stages()).argv.index("train") + 1)
    found = config.trainer_arguments()
    assert (found["learning_rate"], found["temperature"], found["top_p"], found["top_k"]) == (1e-6, 1.0, 1.0, 0)
    assert found["max_completion_length"] == 16_384
    assert found["vllm_max_model_length"] == settings.sizes.longest_prompt + found["max_completion_length"]
    assert found["objective_options"]["credit"] == "semantic_prior"
    assert (config.teacher, config.teacher_tokenizer) == ("http://teacher:8000", "Qwen/Qwen3-8B")


def test_static_baselines_see_given_responses_alone(settings):
    for method in ("alm", "cdm"):
        cell = next(one for one in cells(settings) if one.name == f"r1/{method}-0")
        config = config_of(cell, next(cell.stages()).argv.index("train") + 1)
        assert config.train["on_policy_share"] == 0
        assert config.train["off_policy"] == "given"
        assert config.dataset.endswith("r1/data/given.jsonl")
    assert config_of(next(one for one in cells(settings) if one.name == "r1/alm-0"), 7).objective_options == {
        "debias": False
    }


@pytest.mark.parametrize("pair", ["llama", "r1", "qwen"])
def test_verl_makes_the_same_run(pair, settings):
    cell = next(one for one in cells(settings, with_ours=True) if one.name == f"{pair}/opd-verl-0")
    written, launched, *_ = cell.stages()
    config = read_config(RunConfig, Path(written.argv[2]), options(written, "--set"), {})
    made = verl_settings(config, Launch("out", "train.parquet", None, 40_000, 1024))
    assert made["data.train_batch_size"] == 128
    assert made["data.max_response_length"] == 16_384
    assert made["trainer.total_training_steps"] == 156
    assert made["actor_rollout_ref.actor.optim.lr"] == 1e-6
    assert made["actor_rollout_ref.actor.optim.lr_warmup_steps"] == 10
    assert made["actor_rollout_ref.actor.clip_ratio_high"] == 0.28
    assert check_settings(composed(made)).make_objective().name == "dpca"
    assert launched.folder == Path(cell.model)
    assert launched.folder.parts[-3:] == ("global_step_156", "actor", "huggingface")


def test_verl_needs_a_server():
    cell = next(one for one in cells(read_settings(), with_ours=True) if one.name == "llama/opd-verl-0")
    with pytest.raises(InputError, match=r"llama/opd-verl-0 asks a server of the teacher: set pairs.llama.served"):
        list(cell.stages())


def test_evaluations_are_those_of_the_preset(settings):
    for cell in cells(settings, with_ours=True):
        stages = [stage for stage in cell.stages() if "eval" in stage.argv]
        assert options(stages[0], "--task") == list(preset(option(stages[0], "--preset")).tasks)
        assert all(get(name).name == name for name in options(stages[0], "--task"))
        assert server_options(options(stages[0], "--server")).max_in_flight == 256
        assert stages[0].serves == cell.model
        assert (len(stages) == 2) == (cell.name in ("llama/sft", "llama/opd-0"))
        if len(stages) == 2:
            assert options(stages[1], "--task") == ["aime24"]


def test_sources_are_passed_on(settings):
    moved = settings.model_copy(update={"eval": settings.eval.model_copy(update={"sources": {"math500": "m.jsonl"}})})
    stage = list(cells(moved)[0].stages())[1]
    assert values_of(options(stage, "--source")) == {"math500": "m.jsonl"}


# --- which cells


def test_cells_are_those_of_the_tables(settings):
    names = [cell.name for cell in cells(settings)]
    tables = [*(f"{pair}/{name}" for pair in ("llama", "r1") for name in ("sft", "alm-0", "cdm-0", "opd-0"))]
    assert names == [*tables, "qwen/sft", "qwen/opd-0"]
    every = [cell.name for cell in cells(settings, with_ours=True)]
    assert set(names) < set(every)
    assert len(every) == len(set(every))
    several = settings.model_copy(update={"seeds": [3, 5]})
    assert [cell.name for cell in cells(several) if cell.pair == "qwen"] == ["qwen/sft", "qwen/opd-3", "qwen/opd-5"]


def test_what_a_cell_needs_comes_before_it(settings):
    assert [cell.name for cell in chosen(settings, ["llama/opd"])] == ["llama/sft", "llama/opd-0"]
    assert [cell.name for cell in chosen(settings, ["llama/opd-0", "llama/alm"])] == [
        *("llama/sft", "llama/opd-0", "llama/alm-0")
    ]
    assert chosen(settings, ["all"]) == cells(settings)
    assert [cell.name for cell in chosen(settings, ["qwen"])] == ["qwen/sft", "qwen/opd-0"]
    with pytest.raises(InputError, match="there is no cell 'llama/nothing'"):
        chosen(settings, ["llama/nothing"])


def test_a_start_after_sft_is_evaluated_and_not_trained(settings):
    sft = next(cell for cell in cells(settings) if cell.name == "r1/sft")
    [stage] = sft.stages()
    assert stage.serves == sft.model == "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    opd = next(cell for cell in cells(settings) if cell.name == "r1/opd-0")
    assert option(next(opd.stages()), "--student") == sft.model


# --- settings


def test_every_file_of_the_recipe_is_used():
    used = {method.file for method in METHODS.values()} | {"settings.toml", "published.toml"}
    assert {path.name for path in FOLDER.glob("*.toml")} == used


def test_single_keys_are_overridden(tmp_path):
    small = read_settings([SMALL])
    assert small.sizes.batch == 32
    assert small.pairs == read_settings().pairs
    path = tmp_path / "mine.toml"
    path.write_text("[sizes]\nbatch = 64\n")
    assert read_settings([SMALL, path]).sizes.batch == 64
    assert read_settings([SMALL, path]).sizes.prompts == small.sizes.prompts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sizes]\nbatch = 12", "sizes.batch = 12 is no multiple of the 8 rows"),
        ("[sizes]\nsamples = 50_000", "samples = 50000 is more than two data sets of prompts = 20000 have"),
        ("[sizes]\nsamples = 128", "must have two steps of batch = 128"),
        ('[eval]\ntasks = ["math500"]', "figure = 'aime24' is none of tasks"),
        ("[sizes]\nsample = 1", "sizes.sample: Extra inputs are not permitted"),
        ("seeds = [1, 1]", "a seed is repeated"),
        ("seeds = []", "seeds: "),
        ('[pairs.llama]\nstart = "x"', "pairs.llama: Value error, name either base"),
        ("sizes", "is not valid TOML"),
    ],
)
def test_settings_that_cannot_be_are_refused(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings([path])


def test_missing_settings_are_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .* give a TOML file"):
        read_settings([tmp_path / "none.toml"])


def test_the_small_file_is_no_second_recipe():
    """It has sizes, the machine and the tasks, and no model or method."""
    assert set(tomllib.loads(SMALL.read_text())) == {"sizes", "hardware", "eval", "set"}
