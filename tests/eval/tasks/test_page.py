"""What docs/tasks.md and docs/own-task.md show runs, and its table says what the tasks are."""

import re

import pytest

from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import available, get
from crossdistill.eval.tasks.reasoning_gym import generators
from tests.snippets import ROOT, blocks

PAGE = "docs/tasks.md"


def table() -> dict[str, str]:
    """Task -> its row of the table of benchmarks."""
    return dict(re.findall(r"^\| `(\w+)` \| ([\d,]+ \| .*) \|$", (ROOT / PAGE).read_text(), flags=re.MULTILINE))


def test_the_table_has_every_task():
    assert {*table()} == {*available()}


@pytest.mark.parametrize("name", available())
def test_the_table_says_where_problems_are_from_and_how_they_are_sampled(name):
    task = get(name)
    sampling = task.sampling
    how = f"k = {sampling.k}, T = {sampling.temperature}, top-p {sampling.top_p}" if sampling.temperature else "greedy"
    assert table()[name].endswith(f"{how}, {sampling.max_tokens:,} tokens")
    assert f"`{task.source}`" in table()[name]


def test_the_task_of_the_page_runs(tmp_path, monkeypatch):
    (code,) = blocks("docs/own-task.md", "python")
    (tmp_path / "my_tasks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    task = get("my_tasks:TimesTable")
    options = TaskOptions(limit=5, parameters={"largest": 3}, workers=1)
    with pytest.raises(ValueError, match="has 4 problems, fewer than the limit of 5"):
        task.problems(options)
    problems = task.problems(TaskOptions(parameters={"largest": 3}))
    assert [(problem.id, problem.reference) for problem in problems][-1] == ("3x3", "9")
    with task.grader(options) as grader:
        verdicts = list(grader.grade([(problems[-1], r"\boxed{9}"), (problems[-1], r"\boxed{6}")]))
    assert [verdict.correct for verdict in verdicts] == [True, False]


def test_the_file_of_the_page_is_read(tmp_path):
    (rows,) = blocks(PAGE, "json")
    (tmp_path / "problems.jsonl").write_text(rows)
    problems = get(str(tmp_path / "problems.jsonl")).problems(TaskOptions())
    assert [problem.reference for problem in problems] == ["1/2", ["2", "3"]]


def test_generators_that_the_page_names_exist():
    text = (ROOT / PAGE).read_text().partition("## Generated problems")[2].partition("## Presets")[0]
    named = {
        name
        for name in re.findall(r"`([a-z0-9_]+)`", text)
        if "_" in name or name in ("boxnet", "countdown", "puzzle24")
    }
    assert len(named) >= 15
    assert named <= {*generators()}
