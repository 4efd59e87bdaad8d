"""``crossdistill doctor --run``: what will run, and what memory it takes; versions that do not go together."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from crossdistill.versions import conflicts, requirements_of
from tests.cli.harness import run

RECIPES = Path(__file__).parents[2] / "recipes" / "accelerate"


@pytest.fixture
def file(pair, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(f'student = "{pair.student}"\nteacher = "{pair.teacher}"\ndataset = "prompts.jsonl"\n')
    return path


def doctor(file, *arguments):
    return run("doctor", "--run", str(file), *arguments)


def peak(result, phase):
    (line,) = (line for line in result.out.partition("peaks")[2].splitlines() if phase in line)
    return int(line.split("│")[2].replace(",", ""))


def test_engines_and_phases(file):
    result = doctor(file, "--launch", str(RECIPES / "fsdp2.yaml"))
    assert result.code == 0, result.err
    assert "FSDP2, 8 processes, on a GPU each" in result.out
    assert "FSDP2: gathered weights" in result.out
    assert all(name in result.out for name in ("cache of keys and values", "activations", "teacher: weights"))


def test_longer_responses_take_more(file):
    options = "-s", "train.per_device_train_batch_size=1", "-s"
    short, long = (doctor(file, *options, f"train.max_completion_length={tokens}") for tokens in (1000, 20_000))
    assert "one process, 1 process, on " in short.out
    assert peak(long, "training") > 5 * peak(short, "training")


def test_fsdp_on_a_cpu(file):
    result = doctor(file, "--launch", str(RECIPES / "fsdp2.yaml"), "--set", "train.use_cpu=true")
    assert "DDP, 8 processes, on the CPU" in result.out
    assert "FSDP2 was asked for" in result.out
    assert "DDP: buckets of gradients" in result.out


def test_an_engine_that_the_run_file_names(file):
    result = doctor(file, "--launch", str(RECIPES / "ddp.yaml"), "--set", "train.fsdp=full_shard")
    assert "FSDP2, 8 processes, on a GPU each" in result.out


def test_what_cannot_be_set_is_refused(file):
    assert "torch_compile cannot be set here" in doctor(file, "--set", "train.torch_compile=true").message


def test_questions_that_do_not_go_together(file):
    assert "give the run file with --run" in run("doctor", "--launch", str(RECIPES / "ddp.yaml")).message
    message = doctor(file, "--teacher", "http://localhost:1", "--teacher-tokenizer", str(file.parent)).message
    assert "a question of its own" in message
    assert "a question of its own" in run("doctor", "student", "teacher", "--run", str(file)).message


def test_versions_by_their_own_requirements():
    versions = {"trl": "1.16.0", "transformers": "5.3.0", "vllm": "0.40.0"}
    needs = {"trl": [("", Requirement("transformers>=5.5")), ("vllm", Requirement("vllm>=0.22,<=0.31"))]}
    found = list(map(str, conflicts(versions.get, lambda name: needs.get(name, []))))
    assert found == [
        "trl 1.16.0 needs transformers>=5.5, and 5.3.0 is installed",
        "trl[vllm] 1.16.0 needs vllm<=0.31,>=0.22, and 0.40.0 is installed",
    ]
    assert not list(
        conflicts({**versions, "transformers": "5.9", "vllm": "0.25.0"}.get, lambda name: needs.get(name, []))
    )


def test_an_extra_that_is_not_installed_asks_for_nothing():
    needs = [("old", Requirement("ancient>=1")), ("old", Requirement("transformers<5"))]
    for ancient, count in {None: 0, "1.0": 1}.items():
        versions = {"trl": "1.16.0", "transformers": "5.9", "ancient": ancient}
        assert len(list(conflicts(versions.get, lambda name: needs if name == "trl" else []))) == count


def test_what_is_installed_here_goes_together():
    assert not list(conflicts())
    assert {"torch", "transformers"} <= {requirement.name for _, requirement in requirements_of("crossdistill")}
