"""A task reward beside the teacher: what grades, what a step learns of it, and what is refused or ends a run."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import Dataset

from crossdistill import InputError
from crossdistill.demo.run import asset, message
from crossdistill.demo.sums import Sums
from crossdistill.demo.task import answer_in, problems
from crossdistill.distill import Rollout
from crossdistill.errors import EvaluationError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks import get as get_task
from crossdistill.objectives.dpca import DPCA
from crossdistill.runs.config import RunConfig
from crossdistill.runs.train import train
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.reward.base import Answer
from crossdistill.train.reward.by_function import FunctionReward
from crossdistill.train.reward.choice import reward_of
from crossdistill.train.reward.metrics import PATIENCE
from crossdistill.train.reward.run_reward import answers_of
from tests.models import MESSAGES, Pair
from tests.oracles import reward as oracle
from tests.train.harness import RecordingTrainer, arguments

GENERATIONS = 4


def by_length(completions: Sequence[Any], **columns: Any) -> list[float]:
    """Longer texts are better."""
    return [float(len(messages[-1]["content"])) for messages in completions]


def trainer_of(pair: Pair, output: Path, columns: Mapping[str, Any] | None = None, **options: Any) -> RecordingTrainer:
    data = {"prompt": list(MESSAGES), **(columns or {})}
    args = arguments(output, per_device_train_batch_size=8, num_generations=GENERATIONS, **{"max_steps": 1, **options})
    return RecordingTrainer(pair.student, pair.teacher, args, train_dataset=Dataset.from_dict(data))


def text_of(item: Any) -> str:
    return item.response.data.decode("utf-8", errors="replace")


# ---- the step --------------------------------------------------------------------------------------------------------


def test_a_step_learns_from_both(pair, output):
    """From the same seed the same samples: the reward is added to what the teacher alone says of them."""
    alone = trainer_of(pair, output / "alone")
    alone.train()
    both = trainer_of(pair, output / "both", reward=by_length, reward_weight=0.5)
    both.train()
    texts = [text_of(item) for item in both.rollouts[0]]
    assert texts == [text_of(item) for item in alone.rollouts[0]]
    values = oracle.group_advantages([float(len(text)) for text in texts], [row // GENERATIONS for row in range(8)])
    assert max(map(abs, values)) > 0.5
    for item, other, value in zip(both.rollouts[0], alone.rollouts[0], values, strict=True):
        expected = np.where(other.mask, other.advantages + 0.5 * value, 0)
        np.testing.assert_allclose(item.advantages, expected, atol=1e-5)
    mean = np.concatenate([item.advantages[item.mask] for item in both.rollouts[0]]).mean()
    assert both.steps[0]["loss"] == pytest.approx(-mean, rel=2e-4, abs=2e-5)
    logged = both.steps[0]
    assert logged["reward/mean"] == pytest.approx(np.mean([len(text) for text in texts]))
    assert (logged["reward/graded"], logged["reward/differing"]) == (1.0, 1.0)
    assert "reward/parsed" not in logged
    assert logged["seconds/reward"] > 0
    assert not [name for name in alone.steps[0] if name.startswith("reward/")]
    assert alone.total_usage().as_dict()["tokens"] == both.total_usage().as_dict()["tokens"]


def test_a_function_is_called_as_trl_calls_it(pair, output):
    calls = []

    def watching(prompts: Any, completions: Any, completion_ids: Any, level: Any, **rest: Any) -> list[None]:
        calls.append((prompts, completions, completion_ids, level, rest))
        return [None] * len(prompts)

    trainer = trainer_of(pair, output, {"level": [f"level {k}" for k in range(8)]}, reward=watching)
    trainer.train()
    ((prompts, completions, ids, levels, rest),) = calls
    assert rest == {}
    assert levels == [f"level {MESSAGES.index(prompt)}" for prompt in prompts]
    assert [prompts[k] == prompts[0] for k in range(8)] == [k < GENERATIONS for k in range(8)]
    scored = trainer.rollouts[0]
    assert completions == [[{"role": "assistant", "content": text_of(item)}] for item in scored]
    assert ids == [item.response.ids.tolist() for item in scored]
    logged = trainer.steps[0]
    assert (logged["reward/graded"], logged["reward/differing"]) == (0.0, 0.0)
    assert "reward/mean" not in logged  # of nothing there is no mean


def test_a_reward_function_of_trl_does_as_it_is():
    from trl.rewards import think_format_reward

    reward = reward_of(think_format_reward, None)
    rows = [{"prompt": [{"role": "user", "content": "?"}]}] * 2
    said = ["<think>so</think>42", "42"]
    answers = [
        Answer(row, [1], text, [{"role": "assistant", "content": text}]) for row, text in zip(rows, said, strict=True)
    ]
    assert [grade.value for grade in reward.grade(answers)] == [1.0, 0.0]


def test_prompts_that_are_texts_have_texts_as_completions():
    reward = FunctionReward(lambda completions, **_: [len(text) for text in completions], "length")
    assert [grade.value for grade in reward.grade([Answer({"prompt": "1, 2, "}, [7, 8], "3, 4")])] == [4.0]
    assert reward.grade([]) == []


def test_the_last_turn_is_the_answer_of_a_conversation_with_tools(student_side):
    vocab, stop = student_side
    prompt = [{"role": "user", "content": "What is 6 * 7?"}]
    call, result, final = (vocab.encode(text).ids.tolist() for text in ("call", "42", "It is 42."))
    ids = [*call, stop, *result, *final, stop]
    mask = [1] * (len(call) + 1) + [0] * len(result) + [1] * (len(final) + 1)
    turns = [{"role": "assistant", "content": "call"}, {"role": "tool", "content": "42"}]
    conversation = [*turns, {"role": "assistant", "content": "It is 42."}]
    rollout = Rollout.of([prompt], [[1]], [ids], [mask], [conversation])
    (answer,) = answers_of([{"prompt": prompt, "answer": 42}], rollout, vocab, [stop])
    assert (answer.text, answer.ids, list(answer.conversation)) == ("It is 42.", ids, conversation)
    plain = Rollout.of(["6 * 7 = "], [[1]], [vocab.encode("42").ids.tolist()])
    (answer,) = answers_of([{"prompt": "6 * 7 = "}], plain, vocab, [stop])
    assert (answer.text, list(answer.conversation)) == ("42", [])


@pytest.fixture(scope="module")
def student_side() -> tuple[Any, int]:
    from crossdistill import ByteVocab
    from tests.models import student_tokenizer

    tokenizer = student_tokenizer()
    return ByteVocab.from_tokenizer(tokenizer), tokenizer.eos_token_id


def test_an_evaluation_has_no_reward(pair, output):
    calls = []

    def counting(prompts: Any, **_: Any) -> list[float]:
        calls.append(len(prompts))
        return [float(k % 3) for k in range(len(prompts))]

    args = arguments(
        output,
        **{"per_device_train_batch_size": 8, "num_generations": 2, "max_steps": 2, "reward": counting},
        **{"eval_strategy": "steps", "eval_steps": 1},
    )
    data = Dataset.from_dict({"prompt": list(MESSAGES)})
    trainer = RecordingTrainer(pair.student, pair.teacher, args, train_dataset=data, eval_dataset=data)
    trainer.train()
    trainer.score_prompts(MESSAGES[:2])
    assert calls == [8, 8]
    assert not [name for entry in trainer.state.log_history for name in entry if name.startswith("eval_reward")]


def test_auto_takes_an_objective_that_reads_advantages(pair, output):
    trainer = trainer_of(pair, output, objective="auto", reward=by_length)
    assert trainer.objective.name == "dpca"


def test_a_function_that_cannot_be_pickled_does_not_end_a_checkpoint(pair, output):
    options = {"save_strategy": "steps", "save_steps": 1, "reward": lambda completions, **_: [1.0] * len(completions)}
    trainer = trainer_of(pair, output, **options)
    assert trainer.args.reward == "<lambda>"
    trainer.train()
    assert (output / "checkpoint-1" / "training_args.bin").exists()


# ---- graders of tasks ------------------------------------------------------------------------------------------------


class Counting(Task):
    """Its grader counts what it is asked, and its problems may not be read."""

    name = "counting"

    def __init__(self, verdicts: int | None = None) -> None:
        self.graders: list[CountingGrader] = []
        self.verdicts = verdicts

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        raise AssertionError("the problems of the task are read")

    def grader(self, options: TaskOptions) -> "CountingGrader":
        self.graders.append(CountingGrader(self.verdicts))
        return self.graders[-1]


class CountingGrader(Grader):
    def __init__(self, verdicts: int | None):
        self.asked: list[tuple[Problem, str]] = []
        self.checked: list[Problem] = []
        self.verdicts = verdicts
        self.is_open = False

    def check(self, problems: Sequence[Problem]) -> None:
        self.checked += problems

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        assert self.is_open
        self.asked += responses
        for _, text in self.asked[-8:][: self.verdicts]:
            is_even = len(text) % 2 == 0
            yield Verdict(is_even, text[:1] or None, None if is_even else "odd")

    def __enter__(self) -> "CountingGrader":
        self.is_open = True
        return self

    def __exit__(self, *_: Any) -> None:
        self.is_open = False


ANSWERS = {"answer": [f"answer {k}" for k in range(8)]}


def test_a_tasks_grader_grades_on_the_datas_own_answers(pair, output):
    task = Counting()
    trainer = trainer_of(pair, output, ANSWERS, reward=task)
    (checking,) = task.graders
    assert [problem.reference for problem in checking.checked] == ANSWERS["answer"]
    trainer.train()
    _, grading = task.graders
    assert not grading.is_open
    assert not checking.is_open
    for (problem, text), item in zip(grading.asked, trainer.rollouts[0], strict=True):
        assert problem.prompt == item.prompt
        assert problem.reference == f"answer {MESSAGES.index(problem.prompt)}"
        assert text == text_of(item)
    right = [len(text_of(item)) % 2 == 0 for item in trainer.rollouts[0]]
    logged = trainer.steps[0]
    assert logged["reward/mean"] == np.mean(right)
    assert logged["reward/parsed"] == np.mean([bool(text_of(item)) for item in trainer.rollouts[0]])
    assert logged["reward/graded"] == 1


@pytest.mark.parametrize(
    ("name", "row", "reference"),
    [
        ("gsm8k", {"answer": "6 * 7 is 42 #### 1,042"}, "1042"),
        ("math500", {"answer": 0.5}, "0.5"),
        ("aime24", {"answer": ["1/2", 0.5]}, ["1/2", "0.5"]),
        ("gpqa_diamond", {"answer": "C"}, "C"),
        ("crossdistill.demo.sums:Sums", {"answer": "three hundred"}, "three hundred"),
        ("reasoning_gym:chain_sum", {"answer": {"index": 7, "question": "?"}}, {"index": 7}),
        ("reasoning_gym:chain_sum", {"answer": 7}, {"index": 7}),
    ],
)
def test_references_of_training_rows(name, row, reference):
    assert get_task(name).training_reference(Row({"prompt": "?", **row}, 0, "the training data")) == reference


@pytest.mark.parametrize(
    ("name", "row", "problem"),
    [
        ("gsm8k", {}, "row 3 of the training data has no 'answer', only 'prompt'"),
        ("gsm8k", {"answer": " #### "}, "has an empty 'answer'"),
        ("gpqa_diamond", {"answer": "4"}, "has '4' as 'answer': give the letter of the right choice"),
        ("crossdistill.demo.sums:Sums", {"answer": None}, "has no 'answer'"),
        ("reasoning_gym:chain_sum", {"answer": "42"}, "give the problem's index"),
        ("humaneval", {"answer": "42"}, "has no 'entry_point'"),
        ("livecodebench", {"answer": "42"}, "has no"),
    ],
)
def test_rows_that_the_grader_would_not_understand_are_told(name, row, problem):
    with pytest.raises(InputError, match=problem):
        get_task(name).training_reference(Row({"prompt": "?", **row}, 3, "the training data"))


def test_a_file_of_ones_own_says_how_its_kind_is_graded(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "Which?", "choices": ["4", "5", "6"], "answer": "5"}))
    task = get_task(str(path))
    assert task.training_reference(Row({"prompt": "A) 4 B) 5 C) 6", "answer": "B"}, 0, "data")) == "B"
    with pytest.raises(InputError, match="one of A, B, C"):
        task.training_reference(Row({"prompt": "A) 4 B) 5 C) 6", "answer": "D"}, 0, "data"))
    path.write_text(json.dumps({"prompt": "Double", "tests": "assert f(2) == 4"}))
    reference = get_task(str(path)).training_reference(Row({"prompt": "?", "tests": ["assert f(3) == 6"]}, 0, "data"))
    assert (reference["kind"], reference["tests"]) == ("asserts", "assert f(3) == 6")


# ---- what fails is no reward of 0 ------------------------------------------------------------------------------------


def failing_at(step: int) -> Any:
    """A reward that fails in its call number `step`."""
    calls = []

    def reward(completions: Any, **_: Any) -> list[float]:
        calls.append(1)
        if len(calls) == step:
            raise RuntimeError("the judge is gone")
        return [float(k) for k in range(len(completions))]

    return reward


def test_a_failure_ends_the_run_after_a_checkpoint(pair, output):
    trainer = trainer_of(pair, output, max_steps=3, save_strategy="steps", save_steps=100, reward=failing_at(3))
    with pytest.raises(
        EvaluationError, match=r"the reward 'reward' failed \(RuntimeError in test_reward.py, line \d+: the"
    ):
        trainer.train()
    assert (output / "checkpoint-2").is_dir()
    resumed = trainer_of(pair, output, max_steps=3, save_strategy="steps", save_steps=100, reward=failing_at(9))
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0] * 7, "gave 7 values for 8 responses"),
        ([1.0] * 7 + [float("nan")], "gave nan: return a finite number, or None"),
        ([1.0] * 7 + ["much"], "gave 'much': return a finite number"),
        (1.0, "gave an object of type float for 8 responses"),
        ({"a": 1}, "gave an object of type dict"),
    ],
)
def test_what_is_no_reward_is_told(pair, output, values, message):
    trainer = trainer_of(pair, output, reward=lambda **_: values)
    with pytest.raises(EvaluationError, match=f"the reward '<lambda>' failed: the reward '<lambda>' {message}"):
        trainer.train()


def test_arrays_and_truth_values_are_numbers():
    reward = FunctionReward(lambda **_: np.array([True, False]), "sound")
    answers = [Answer({"prompt": "?"}, [], "")] * 2
    assert [grade.value for grade in reward.grade(answers)] == [1.0, 0.0]


def test_a_grader_that_loses_a_response_is_told(pair, output):
    trainer = trainer_of(pair, output, ANSWERS, reward=Counting(verdicts=7))
    with pytest.raises(EvaluationError, match="gave 7 verdicts for 8 responses"):
        trainer.train()


def test_a_reward_that_never_differs_is_told_once(pair, output):
    trainer = trainer_of(
        pair, output, ANSWERS, max_steps=PATIENCE + 2, reward=lambda prompts, **_: [0.5] * len(prompts)
    )
    trainer.train()
    (found,) = [one for one in trainer.findings.findings if one.kind.name == "reward_never_differs"]
    assert f"in the first {PATIENCE} batches of rollouts the reward '<lambda>' was the same for all" in found.message
    assert "(mean 0.5)" in found.message


# ---- settings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnyText(DPCA):
    """Reads advantages alone, of any text."""

    on_policy_only: ClassVar[bool] = False


async def awaited(**columns: Any) -> list[float]:
    return []


CLASS_ITSELF = "crossdistill.eval.task:TaskOptions"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_generations": 1}, "is compared among several responses to one prompt, and num_generations = 1: set it"),
        ({"objective": "strict"}, "objective 'strict' does not learn by advantages"),
        ({"reward_weight": 0.0}, "reward_weight must be above 0"),
        ({"reward_weight": float("nan")}, "reward_weight must be above 0"),
        ({"reward": "gsm9k"}, "there is no task 'gsm9k': did you mean"),
        ({"reward": "no_such_module:f"}, "reward 'no_such_module:f': there is no module"),
        ({"reward": "math:pi"}, "the reward 'math:pi' is an object of type float: give a task"),
        ({"reward": CLASS_ITSELF}, f"the reward '{CLASS_ITSELF}' is a class: give a task"),
        ({"reward": 3}, "is an object of type int: give a task"),
        ({"reward": awaited}, "the reward 'awaited' is an async function"),
        (
            {"reward_options": {"unsandboxed": True}},
            "unsandboxed: extra inputs are not permitted; .* always run in a sand",
        ),
        ({"reward_options": {"parameters": {"size": 2}}}, "task 'gsm8k' has no parameter 'size'"),
        ({"reward": "math:sqrt", "reward_options": {"workers": 2}}, "reward_options are for a task"),
        ({"reward": None, "reward_options": {"workers": 2}}, "reward_options is set and there is no reward"),
        ({"reward": None, "reward_weight": 0.5}, "reward_weight is set and there is no reward"),
        ({"remove_unused_columns": True}, "remove_unused_columns = true would take away the columns"),
        (
            {"objective": f"{__name__}:AnyText", "on_policy_share": 0.5, "off_policy": "teacher"},
            "on_policy_share = 0.5",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        arguments(tmp_path, **{"num_generations": 4, "reward": "gsm8k", **options})


def test_a_name_and_its_options_stay_as_they_were_given(tmp_path):
    args = arguments(tmp_path, num_generations=4, reward="gsm8k", reward_options={"workers": 1})
    assert (args.reward, args.reward_weight, args.make_reward().name) == ("gsm8k", 1.0, "gsm8k")
    assert arguments(tmp_path).make_reward() is None


@pytest.mark.usefixtures("no_weights")
def test_a_row_without_an_answer_is_refused_before_weights_are_read(pair, output):
    answers = {"answer": [*map(str, range(7)), None]}
    with pytest.raises(InputError, match="row 7 of the training data has no 'answer'"):
        trainer_of(pair, output, answers, reward="gsm8k")


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("columns", "reward", "message"),
    [
        ({"completions": ["x"] * 8}, by_length, "has a column 'completions', and the reward 'by_length' is given"),
        (
            {"answer": ["x"] * 8},
            lambda completions, solution, **rest: [0.0],
            "'<lambda>' cannot be called: missing a required .*'solution'; it is given prompts, completions, "
            "completion_ids, answer",
        ),
        ({"level": ["x"] * 8}, lambda prompts, completions, completion_ids: [0.0], "unexpected keyword .*'level'"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_before_weights_are_read(pair, output, columns, reward, message):
    with pytest.raises(InputError, match=message):
        trainer_of(pair, output, columns, reward=reward)


@pytest.mark.usefixtures("no_weights")
def test_a_sandbox_that_cannot_run_is_told_before_weights_are_read(pair, output, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "Double", "tests": "assert f(2) == 4"}))
    with pytest.raises(InputError, match=r"bubblewrap|bwrap"):
        trainer_of(pair, output, {"tests": ["assert f(2) == 4"] * 8}, reward=str(path))


# ---- a whole run -----------------------------------------------------------------------------------------------------


def sums_config(tmp_path: Path, column: str = "answer", **options: Any) -> RunConfig:
    data = tmp_path / "sums.jsonl"
    rows = [{"prompt": message(one), column: one.answer} for one in problems("train", 8, seed=5)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunConfig(
        student=asset("student"),
        teacher=asset("teacher"),
        dataset=str(data),
        answer_column=None if column == "answer" else column,
        train={
            **{"max_steps": 2, "per_device_train_batch_size": 16, "num_generations": 4, "logging_steps": 1},
            **{"max_completion_length": 48, "use_cpu": True, "bf16": False, "disable_tqdm": True},
            **{"save_strategy": "no", "reward": f"{Sums.__module__}:Sums", "reward_weight": 0.5, **options},
        },
    )


@pytest.mark.parametrize("column", ["answer", "result"])
def test_the_demos_sums_with_their_answers(tmp_path, column):
    trainer, run = train(sums_config(tmp_path, column), tmp_path / "run")
    name = f"{Sums.__module__}:Sums"
    assert run["reward"] == {"name": name, "weight": 0.5, "num_generations": 4}
    steps = [entry for entry in run["history"] if "loss" in entry]
    assert all(0 < entry["reward/mean"] <= 1 and entry["reward/parsed"] > 0.5 for entry in steps)
    right = {one.prompt: one.answer for one in problems("train", 8, seed=5)}
    scored = trainer._batches["train"].responses  # the latest batch that was trained on
    graded = [answer_in(text_of(item)) == right[item.prompt[0]["content"]] for item in scored]
    assert steps[-1]["reward/mean"] == np.mean(graded)
    assert steps[-1]["grad_norm"] > 0


def test_training_problems_that_are_held_out_ones_are_told(tmp_path):
    config = sums_config(tmp_path)
    tables = {"mine": {"source": config.dataset, "instruction": "", "max_tokens": 8}}
    trainer, _ = train(RunConfig(**{**config.model_dump(), "eval_tasks": tables, "eval_every": 100}), tmp_path / "run")
    (found,) = [one for one in trainer.findings.findings if one.kind.name == "problems_trained_on"]
    assert found.message.startswith("8 of the 8 problems of the evaluation task 'mine'")


def test_an_answer_column_without_a_reward_is_refused(tmp_path):
    config = sums_config(tmp_path, "result", reward=None, reward_weight=1.0)
    with pytest.raises(InputError, match="answer_column is read by a reward, and there is none"):
        train(config, tmp_path / "run")


def test_a_configuration_of_trl_style_takes_it(tmp_path):
    args = CrossTokenizerConfig(str(tmp_path), reward=Sums(), num_generations=2, use_cpu=True, bf16=False)
    assert (args.reward, args.make_reward().name) == ("sums", "sums")
