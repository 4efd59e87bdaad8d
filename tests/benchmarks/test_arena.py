"""Arena A: its tasks, data and models, and that they can be built anew."""

import doctest
import json
import random
import re
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.arena import build, data, rewards, sentences, sorting, sums
from benchmarks.arena.pairs import TOKENIZERS, measure_pairs, model_folder
from benchmarks.arena.recipes import RECIPES
from benchmarks.arena.split_task import SplitTask
from crossdistill import InputError
from crossdistill.arena.file import read_arena
from crossdistill.demo.task import operand_pairs
from crossdistill.eval.task import TaskOptions
from tests.snippets import ROOT

ARENA = ROOT / "benchmarks" / "arena"
BUILT = json.loads((ARENA / "BUILD.json").read_text())
needs_models = pytest.mark.skipif(
    not (ARENA / "models").exists(), reason="a source distribution leaves the models out: make arena-models"
)
SPLITS = ("train", "validation", "test", "sft")
each_task = pytest.mark.parametrize("task", data.TASKS.values(), ids=data.TASKS)


def asked(task: SplitTask, split: str):
    return task.problems(TaskOptions(parameters={"split": split}))


@pytest.mark.parametrize("module", [sums, sorting, sentences, rewards])
def test_examples(module):
    tried = doctest.testmod(module)
    assert (tried.failed, tried.attempted > 0) == (0, True)


def unordered(prompt: str) -> frozenset[str]:
    """The parts of a problem: sums and lists with the same ones in another order count as one."""
    return frozenset(re.split(" plus |, ", prompt.removeprefix("sort: ")))


@each_task
def test_the_splits_share_no_problem(task):
    drawn = {split: {unordered(one.prompt) for one in task.draw(split, 1500, seed=3)} for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not drawn[one] & drawn[other], (one, other)


def test_sums_keep_to_the_demos_splits():
    pairs = {split: set(operand_pairs(split)) for split in ("train", "test", "sft")}
    words = {split: {sums.make_problem(*pair).prompt for pair in found} for split, found in pairs.items()}
    for split, of_demo in {"train": "train", "validation": "train", "test": "test", "sft": "sft"}.items():
        assert {one.prompt for one in sums.Sums().draw(split, 300, seed=5)} <= words[of_demo]


@each_task
def test_validation_is_asked_unless_the_test_is(task):
    assert task.problems(TaskOptions()) == asked(task, "validation")
    assert len(asked(task, "test")) == 400
    assert not {one.id for one in asked(task, "test")} & {one.id for one in asked(task, "validation")}
    with pytest.raises(InputError, match="has no problems of the split 'train': ask validation or test"):
        asked(task, "train")


@each_task
def test_solutions_are_right_and_those_of_other_problems_are_not(task):
    problems, drawn = asked(task, "test"), task.draw("test", 400, build.SEEDS["test"])
    solutions = [one.solution for one in drawn]
    with task.grader(TaskOptions()) as grader:
        assert all(verdict.correct for verdict in grader.grade(zip(problems, solutions, strict=True)))
        shifted = [*solutions[1:], solutions[0]]
        wrong = list(grader.grade(zip(problems, shifted, strict=True)))
        [empty] = grader.grade([(problems[0], " ")])
    equal = sum(one.answer == other.answer for one, other in zip(drawn, [*drawn[1:], drawn[0]], strict=True))
    assert sum(verdict.correct for verdict in wrong) == equal < 20
    assert not empty.correct
    assert not empty.parsed


@each_task
def test_the_reward_is_the_grade_of_an_evaluation(task):
    drawn = task.draw("train", 40, seed=9)
    asked = [[{"role": "user", "content": one.prompt}] for one in drawn]
    written = [one.solution for one in drawn]
    for responses, reward in ((written, 1.0), (written[1:] + written[:1], 0.0), ([""] * 40, 0.0)):
        completions = [[{"role": "assistant", "content": response}] for response in responses]
        assert rewards.solved(asked, completions, index=range(40)) == [reward] * 40


def test_near_misses_of_a_sorted_list():
    task = sorting.Sorting()
    [problem] = task.problems(TaskOptions(limit=1))
    animals = problem.reference.split(", ")
    near = [
        ", ".join([animals[1], animals[0], *animals[2:]]),
        ", ".join(animals[:-1]),
        ", ".join([*animals, animals[-1]]),
        " ".join(animals),
    ]
    with task.grader(TaskOptions()) as grader:
        assert not any(verdict.correct for verdict in grader.grade([(problem, text) for text in near]))
        [verdict] = grader.grade([(problem, f" {problem.reference}\n")])
    assert verdict.correct


def test_habits_of_the_written_lists():
    animals = ["mole", "bear", "panda", "badger", "mink"]
    rng = random.Random(0)
    assert sorting.written_list(animals, sorting.Habits(0.0, 0.0), rng) == "badger, bear, mink, mole, panda"
    assert sorting.written_list(animals, sorting.Habits(1.0, 0.0), rng) == "bear, badger, mole, mink, panda"
    slipped = sorting.written_list(animals, sorting.Habits(0.0, 1.0), rng).split(", ")
    assert sorted(slipped) == sorted(animals) != slipped


@each_task
def test_worked_examples_are_easy(task):
    for problem in data.easy_examples(task.name):
        if task.name == "sorting":
            assert len({animal[0] for animal in problem.answer.split(", ")}) == sorting.NUM_WORDS
        else:
            assert problem.solution.replace(" and ", " ").partition(" is ")[2] == problem.answer


@needs_models
def test_the_files_are_those_of_the_record():
    for name, digest in BUILT["sha256"].items():
        assert sha256((ARENA / name).read_bytes()).hexdigest() == digest, name


def test_the_data_is_what_the_script_writes(tmp_path):
    data.write_data(tmp_path)
    for path in (ARENA / "data").rglob("*.*"):
        assert (tmp_path / path.relative_to(ARENA / "data")).read_bytes() == path.read_bytes(), path


@needs_models
def test_tokenizers_are_what_they_are_called():
    pairs = measure_pairs(ARENA / "models")
    assert pairs == BUILT["pairs"]
    for task in data.TASKS:
        found = {kind: pairs[f"{task}-{kind}"] for kind in TOKENIZERS[task]}
        student = found["same"]["student_tokens_per_byte"]
        assert found["same"]["one_to_one_share"] == 1
        assert found["fine"]["teacher_tokens_per_byte"] > 1.3 * student
        assert found["fine"]["shared_credit_share"] == 0  # no token of the student is a part of a teacher's
        assert 0.2 < found["mixed"]["one_to_one_share"] < 0.8
        assert all(one["coverage"] == 1 for one in found.values())
    coarse = pairs["sums-coarse"]
    assert coarse["teacher_tokens_per_byte"] < coarse["student_tokens_per_byte"] / 1.3


def test_there_is_room_and_teachers_are_alike():
    models = BUILT["models"]
    for task in data.TASKS:
        greedy = {kind: models[f"{task}-{kind}"]["exact_match"]["greedy"] for kind in ("student", *TOKENIZERS[task])}
        start = greedy.pop("student")
        assert 0.15 <= start <= 0.5
        assert min(greedy.values()) > 0.95
        assert max(greedy.values()) - min(greedy.values()) < 0.025


@needs_models
@pytest.mark.parametrize("name", RECIPES)
def test_models_load(name):
    model = AutoModelForCausalLM.from_pretrained(ARENA / "models" / name)
    tokenizer = AutoTokenizer.from_pretrained(ARENA / "models" / name)
    assert model.num_parameters() == BUILT["models"][name]["parameters"]
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert not list((ARENA / "models" / name).glob("*.bin"))


@needs_models
def test_the_file_names_what_is_there():
    arena = read_arena(ARENA / "arena_cpu.toml")
    for pair in arena.pairs.values():
        for folder in filter(None, (pair.student, pair.teacher, pair.same_tokenizer_teacher)):
            assert (Path(folder) / "model.safetensors").exists(), folder
    for task in arena.tasks.values():
        assert all(Path(file).exists() for file in (task.prompts, task.examples, task.unrelated))
        assert task.validation.parameters == {"split": "validation"}
        assert task.test.parameters == {"split": "test"}


def test_the_students_are_those_of_the_pairs():
    assert {model_folder(ARENA / "models", f"{task}-student") for task in data.TASKS} == {
        str(ROOT / "crossdistill" / "demo" / "assets" / "student"),
        str(ARENA / "models" / "sorting-student"),
    }


@pytest.mark.slow
@pytest.mark.long
def test_a_small_build_runs_and_repeats_itself(tmp_path):
    for folder in ("first", "second"):
        root = tmp_path / folder
        data.write_data(root / "data")
        models = {name: build.build(name, root, most_steps=2) for name in ("sorting-student", "sums-coarse")}
        assert models["sorting-student"]["stages"].keys() == {"training", "sft"}
    weights = [(tmp_path / folder / "models" / "sums-coarse" / "model.safetensors") for folder in ("first", "second")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
