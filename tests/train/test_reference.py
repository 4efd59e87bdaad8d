"""A run with a reference teacher: local or served, checked, paid for and reported like any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.costs import Part
from crossdistill.demo.run import asset
from crossdistill.runs.config import RunConfig, TeacherTable, read_config
from crossdistill.runs.train import train
from crossdistill.teachers import LocalTeacher
from crossdistill.teachers.served import ServedTeacher
from tests.models import MESSAGES, Pair, save_teacher, teacher_model, teacher_tokenizer
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.server import TeacherServer
from tests.train.harness import BATCH, RecordingTrainer, arguments, load, make_trainer
from tests.train.test_families import family_model, family_tokenizer
from tests.train.test_multi_teacher import alone

UNBOUNDED = {"objective_options": {"max_advantage": 1e6}, "low_coverage": "ignore"}


@pytest.fixture(scope="module")
def teacher(pair: Pair) -> LocalTeacher:
    return LocalTeacher(load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher))


@pytest.fixture(scope="module")
def reference() -> LocalTeacher:
    """Of another family, with another number of layers."""
    tokenizer = family_tokenizer("unigram")
    return LocalTeacher(family_model(tokenizer), tokenizer)


def test_a_step_learns_from_the_difference_and_pays_for_both(pair, output, teacher, reference):
    both = {"teacher": teacher, "reference": reference}
    trainer = make_trainer(pair, output, teacher=both, max_steps=1, **UNBOUNDED)
    trainer.train()
    scored = trainer.rollouts[0]
    assert trainer.teacher is teacher
    for item in scored:
        parts = [alone(trainer, one, item) for one in (teacher, reference)]
        kept = parts[0].mask & parts[1].mask
        np.testing.assert_allclose(
            item.advantages[:-1], np.where(kept, parts[0].advantages - parts[1].advantages, 0)[:-1], atol=4e-5
        )
        assert item.teacher_name == "teacher"
    mean = np.concatenate([item.advantages[item.mask] for item in scored]).mean()
    assert trainer.steps[0]["loss"] == pytest.approx(-mean, rel=2e-4, abs=2e-5)
    costs = trainer.total_usage().costs
    read = {
        one: [item.num_teacher_tokens for item in of]
        for one, of in zip((teacher, reference), ([*scored], [item.others[0] for item in scored]), strict=True)
    }
    assert costs.tokens[Part.TEACHER_PREFILL] == sum(map(sum, read.values()))
    assert costs.flops[Part.TEACHER_PREFILL] == sum(one.flops.forward(lengths) for one, lengths in read.items())
    assert teacher.flops != reference.flops


def test_a_reference_that_is_the_teacher_is_told_and_moves_nothing(pair, output):
    both = {"teacher": pair.teacher, "reference": f"{pair.teacher}/."}
    trainer = make_trainer(pair, output, teacher=both, max_steps=1, weight_decay=0.0)
    (found,) = [one for one in trainer.findings.findings if one.kind.name == "reference_is_teacher"]
    assert found.message.startswith("the reference teacher is the teacher itself, so that every advantage from it is 0")
    trainer.train()
    assert trainer.steps[0]["loss"] == trainer.steps[0]["grad_norm"] == 0
    assert all((one == trainer.weights[1][name]).all() for name, one in trainer.weights[0].items())


def test_the_start_as_the_reference_stays_frozen(pair, output, teacher):
    trainer = make_trainer(pair, output, teacher={"teacher": teacher, "reference": pair.student}, max_steps=2)
    trainer.train()
    frozen = trainer.teachers["reference"].model.state_dict()
    assert all(torch.equal(frozen[name], one) for name, one in load(pair.student).state_dict().items())
    assert any((one != trainer.weights[0][name]).any() for name, one in trainer.weights[-1].items())


@pytest.mark.parametrize("others", [{}, {"reference": "itself"}])
def test_a_model_object_that_is_trained_is_no_teacher(pair, output, others):
    student = load(pair.student)
    models = {"teacher": student if not others else pair.teacher, **dict.fromkeys(others, student)}
    with pytest.raises(InputError, match="the same model object"):
        make_trainer(pair, output, student=student, teacher=models)


def test_another_copy_is_not_taken_for_the_teacher(pair, output, teacher, reference):
    trainer = make_trainer(pair, output, teacher={"teacher": teacher, "reference": reference}, max_steps=1)
    assert "reference_is_teacher" not in {one.kind.name for one in trainer.findings.findings}


def test_a_served_reference_says_what_the_local_one_says(pair, output, teacher):
    """The weaker model behind a server has the teacher's tokenizer and other weights."""
    tokenizer = teacher_tokenizer()

    def steps(reference: Any, name: str) -> RecordingTrainer:
        both = {"teacher": teacher, "reference": reference}
        trainer = make_trainer(pair, output / name, teacher=both, max_steps=2, **UNBOUNDED)
        trainer.train()
        return trainer

    local = steps(LocalTeacher(teacher_model(tokenizer, seed=5), tokenizer), "local")
    with TeacherServer(Scorer(teacher_model(tokenizer, seed=5), tokenizer)) as server:
        served = ServedTeacher(server.url, tokenizer)
        other = steps(served, "served")
        served.close()
        assert len(server.log.scored()) >= 2 * BATCH
    for one, two in zip(other.steps, local.steps, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3, abs=1e-4)
        assert one["teacher_gap"] == pytest.approx(two["teacher_gap"], rel=1e-3, abs=1e-4)
    assert local.steps[0]["grad_norm"] > 0


def test_auto_takes_an_objective_that_can(pair, output, teacher, reference):
    both = {"teacher": teacher, "reference": reference}
    trainer = make_trainer(pair, output, teacher=both, objective="auto", low_coverage="ignore")
    assert (trainer.objective.name, "one for all teachers" in trainer.choice.reason) == ("dpca", True)


# ---- checks before weights are read ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_weights")
def test_an_objective_that_reads_more_is_refused(pair, output):
    both = {"teacher": pair.teacher, "reference": pair.teacher}
    with pytest.raises(InputError, match="objective 'simct' compares the student with the teacher itself"):
        make_trainer(pair, output, teacher=both, objective="simct")


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "auto", "off_policy": "given"}, "objective 'auto' knows none that both mixes teachers"),
        ({"objective": "alm", "off_policy": "teacher"}, "which takes a single local one"),
    ],
)
def test_responses_of_others_are_refused(pair, output, options, message):
    both = {"teacher": pair.teacher, "reference": pair.teacher}
    data = Dataset.from_dict({"prompt": list(MESSAGES), "completion": ["yes"] * len(MESSAGES)})
    args = arguments(output, on_policy_share=0.5, **options)
    with pytest.raises(InputError, match=message):
        RecordingTrainer(pair.student, both, args, train_dataset=data)


@pytest.mark.usefixtures("no_weights")
def test_alone_it_is_refused(pair, output):
    with pytest.raises(InputError, match="the only teacher is the reference"):
        make_trainer(pair, output, teacher={"reference": pair.teacher})


@pytest.mark.usefixtures("no_weights")
def test_its_template_and_context_are_checked_as_the_teachers(pair, output, tmp_path):
    folder = Path(save_teacher(tmp_path / "reference"))
    both = {"teacher": pair.teacher, "reference": str(folder)}
    template = folder / "chat_template.jinja"
    was = template.read_text()
    template.write_text("{% if messages | length == 1 %}{{ raise_exception('too short') }}{% endif %}" + was)
    with pytest.raises(InputError, match="too short"):
        make_trainer(pair, output, teacher=both)
    template.write_text(was)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 20}))
    with pytest.raises(InputError, match="the reference teacher's context of 20"):
        make_trainer(pair, output, teacher=both)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="reference"):
        make_trainer(pair, output, teacher=both)


@pytest.mark.usefixtures("no_weights")
def test_several_teachers_options_are_tables_by_name(pair, output):
    both = {"teacher": pair.teacher, "reference": pair.teacher}
    with pytest.raises(InputError, match="are tables by their names: teacher, reference"):
        make_trainer(pair, output, teacher=both, teacher_chat_template_kwargs={"enable_thinking": False})


# ---- run files -------------------------------------------------------------------------------------------------------

ONE = "student = 's'\nteacher = 't'\nteacher_tokenizer = 'tt'\ndataset = 'd'\n[teachers.reference]\nmodel = 'r'\n"
SEVERAL = "student = 's'\ndataset = 'd'\n[teachers.reference]\nmodel = 'r'\n[teachers.math]\nmodel = 'm'\n"


def test_a_run_file_names_it_beside_one_teacher_or_several(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(ONE)
    named = read_config(RunConfig, path, [], {}).named_teachers
    assert list(named) == ["teacher", "reference"]
    assert (named["teacher"].model, named["teacher"].tokenizer, named["reference"].model) == ("t", "tt", "r")
    path.write_text(SEVERAL)
    named = read_config(RunConfig, path, [], {}).named_teachers
    assert {name: table.model for name, table in named.items()} == {"math": "m", "reference": "r"}
    assert list(named)[-1] == "reference"
    path.write_text(ONE.replace("teacher = 't'\n", "", 1))
    with pytest.raises(InputError, match="'teacher' is missing"):
        read_config(RunConfig, path, [], {})
    path.write_text(ONE + "[teachers.math]\nmodel = 'm'\n")
    with pytest.raises(InputError, match=r"name one teacher .* or several"):
        read_config(RunConfig, path, [], {})


def test_a_whole_run_of_the_demos_models(tmp_path):
    """The demo's other teacher, of another tokenizer, as the reference."""
    data = tmp_path / "rows.jsonl"
    rows = ["one hundred five plus two hundred seven", "three hundred ten plus one hundred one"] * 4
    lines = [{"prompt": [{"role": "user", "content": text}]} for text in rows]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = RunConfig(
        student=asset("student"),
        teacher=asset("teacher"),
        teachers={"reference": TeacherTable(model=asset("other_teacher"))},
        dataset=str(data),
        train={
            **{"max_steps": 2, "per_device_train_batch_size": 4, "max_completion_length": 24, "logging_steps": 1},
            **{"use_cpu": True, "bf16": False, "disable_tqdm": True, "save_strategy": "no"},
        },
    )
    trainer, run = train(config, tmp_path / "run")
    assert list(trainer.teachers) == ["teacher", "reference"]
    assert (run["teacher"], run["reference"]) == (asset("teacher"), asset("other_teacher"))
    assert run["coverage"]["supervised_bytes"] == run["coverage"]["sampled_bytes"] > 0
    assert trainer.teachers["reference"].flops != trainer.teachers["teacher"].flops
    assert all(entry["grad_norm"] > 0 for entry in run["history"] if "loss" in entry)
