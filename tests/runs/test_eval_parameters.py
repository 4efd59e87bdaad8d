"""Parameters on the command line go to the tasks that have them."""

import json
from pathlib import Path

import pytest

from crossdistill.cli.evaluation import plan, values_of
from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions

ROW = {
    "question_content": "Print 1.",
    "question_id": "abc1",
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "", "output": "1", "testtype": "stdin"}]),
    "private_test_cases": "[]",
}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    contests, sums = tmp_path / "contests.jsonl", tmp_path / "sums.jsonl"
    rows = [{**ROW, "question_id": day, "contest_date": day} for day in ("2024-07-31", "2024-08-01")]
    contests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sums.write_text(json.dumps({"question": "What is 1 + 1?", "answer": "#### 2"}))
    return {"livecodebench": str(contests), "gsm8k": str(sums)}


def test_each_task_takes_the_parameters_that_it_has(sources):
    options = TaskOptions(parameters=values_of(["start_date=2024-08-01"]))  # a date, as TOML has it
    contests, sums = plan(["livecodebench", "gsm8k"], None, {}, options, sources)
    assert [problem.id for problem in contests.problems] == ["2024-08-01"]
    assert len(sums.problems) == 1
    assert not sums.options.parameters


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gsm8k"], r"^--param names 'size', which is a parameter of none of gsm8k: they take none\.$"),
        (["gsm8k", "livecodebench"], r"none of gsm8k, livecodebench: they take version, start_date, end_date\.$"),
    ],
)
def test_a_parameter_that_no_task_has_is_refused(sources, names, message):
    with pytest.raises(InputError, match=message):
        plan(names, None, {}, TaskOptions(parameters={"size": 3}), {name: sources[name] for name in names})
