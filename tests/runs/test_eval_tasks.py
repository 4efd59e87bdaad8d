"""The tables of evaluation tasks in a run file."""

import pytest

from crossdistill import InputError
from crossdistill.eval.sampling import Sampling
from crossdistill.integrations.verl.honoured import refuse
from crossdistill.runs.config import RunConfig, SFTRunConfig, read_config
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.held_out import held_out, prompt_text

NEEDED = {"student": "s", "teacher": "t", "dataset": "d"}
OF_TASK = Sampling(k=8, temperature=0.6, top_p=0.95, max_tokens=1024, template_kwargs={"a": 1})


def read(*overrides: str, kind: type = RunConfig) -> RunConfig:
    return read_config(kind, None, overrides, NEEDED)


def test_tables():
    config = read("eval_tasks.gsm8k.limit=100", "eval_tasks.gsm8k.max_tokens=512", "eval_every=20")
    assert config.eval_tasks == {"gsm8k": EvalTaskTable(limit=100, max_tokens=512)}
    assert config.eval_every == 20


def test_a_list_of_names_files_and_import_paths():
    config = read('eval_tasks=["gsm8k", "data/problems.jsonl", "reasoning_gym:chain_sum", "mine.py_tasks:Mine"]')
    assert config.eval_tasks == {
        "gsm8k": EvalTaskTable(),
        "problems": EvalTaskTable(source="data/problems.jsonl"),
        "chain_sum": EvalTaskTable(task="reasoning_gym:chain_sum"),
        "Mine": EvalTaskTable(task="mine.py_tasks:Mine"),
    }


def test_sft_has_them_as_well():
    assert read('eval_tasks=["gsm8k"]', kind=SFTRunConfig).eval_tasks == {"gsm8k": EvalTaskTable()}


def test_a_run_file_without_them_is_the_configuration_of_a_run_of_before():
    assert read().eval_tasks is None
    assert read().eval_every is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("eval_tasks.gsm8k.limti=5", r"unknown key 'eval_tasks.gsm8k.limti'; did you mean 'limit'\?"),
        ("eval_tasks.gsm8k.limit=0", "'eval_tasks.gsm8k.limit': input should be greater than or equal to 1, got 0"),
        ("eval_tasks.gsm8k.temperature=-1", "'eval_tasks.gsm8k.temperature'"),
        ("eval_tasks.gsm8k.top_p=0", "'eval_tasks.gsm8k.top_p'"),
        ("eval_tasks.gsm8k.sandbox=chroot", "'eval_tasks.gsm8k.sandbox'"),
        ('eval_tasks=["gsm8k", "data/gsm8k.jsonl"]', "eval_tasks has two tasks of one name"),
        ("eval_tasks=5", "'eval_tasks'"),
        ("eval_every=0", "'eval_every'"),
        ("teachers.a.tokenizer=b", "'teachers.a.model' is missing: A folder, a hub id or the URL"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(InputError, match=message):
        read(override)


def test_greedy_unless_told():
    kwargs = {"enable_thinking": False}
    assert EvalTaskTable().sampling(OF_TASK, kwargs) == Sampling(1, 0.0, 1.0, 1024, 0, {"a": 1, **kwargs})
    sampled = EvalTaskTable(temperature=1.0, seed=7, system="Be brief.").sampling(OF_TASK, {})
    assert sampled == Sampling(8, 1.0, 0.95, 1024, 7, {"a": 1}, "Be brief.")
    assert EvalTaskTable(temperature=1.0, k=2, top_p=0.5, max_tokens=9).sampling(OF_TASK, {}) == Sampling(
        2, 1.0, 0.5, 9, 0, {"a": 1}
    )


def test_verl_refuses_them():
    with pytest.raises(InputError, match="eval_tasks cannot be honoured by verl"):
        refuse(read('eval_tasks=["gsm8k"]'), args=None)


def test_they_need_the_extra_eval(monkeypatch):
    """Before anything is loaded: a grader may need its modules for one answer and not for another."""
    monkeypatch.setattr("crossdistill.extras.find_spec", lambda module: None if module == "math_verify" else module)
    with pytest.raises(InputError, match=r"eval_tasks.* needs math_verify, .*crossdistill\[eval\]"):
        held_out({"gsm8k": EvalTaskTable()}, args=None)


def test_the_text_of_a_prompt_is_what_the_user_says():
    assert prompt_text(" 2 + 2?\n") == "2 + 2?"
    parts = [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]
    assert prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]) == "2 + 2?"
