"""Roles by the names of other formats are refused, unless the template knows them."""

import pytest

from crossdistill.chat.roles import FOREIGN_ROLE, UNKNOWN_ROLE, role_findings
from crossdistill.findings import FindingError, Severity
from tests.train.harness import make_trainer

ANY_ROLE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"


def usual(*roles: str, template: object = ANY_ROLE) -> list[str]:
    prompt = [{"role": role, "content": "x"} for role in roles]
    return [finding.message.rpartition(" ")[2] for finding in role_findings(prompt, "prompt 3", "student", template)]


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("human", "user"),
        ("prompter", "user"),
        ("User", "user"),
        ("User:", "user"),
        (" HUMAN: ", "user"),
        ("gpt", "assistant"),
        ("ai", "assistant"),
        ("AI", "assistant"),
        ("ASSISTANT", "assistant"),
        ("model", "assistant"),
        ("System:", "system"),
    ],
)
def test_the_usual_name_is_told(role: str, name: str) -> None:
    assert usual(role) == [f"'{name}'."]


@pytest.mark.parametrize(
    "role",
    ["system", "user", "assistant", "tool", "developer", "function", "ipython", "environment", "observation"],
)
def test_roles_that_templates_know_pass(role: str) -> None:
    assert usual(role) == []


@pytest.mark.parametrize("role", ["customer", "instruction", "question", "critic", "it's", ""])
def test_any_other_role_is_warned_of(role: str) -> None:
    (finding,) = role_findings([{"role": role, "content": "x"}], "prompt 3", "student", ANY_ROLE)
    assert finding.kind is UNKNOWN_ROLE and finding.kind.severity is Severity.WARNING
    assert f"prompt 3 has a message of the role {role!r}, which the student's chat template" in finding.message


@pytest.mark.parametrize("quote", "'\"")
def test_a_role_that_the_template_mentions_passes(quote: str) -> None:
    assert usual("critic", template=ANY_ROLE + f"{{% set known = ['user', {quote}critic{quote}] %}}") == []


def test_a_template_that_knows_the_name(role: str = "model") -> None:
    assert usual(role, template="{% if message['role'] == 'model' %}{% endif %}" + ANY_ROLE) == []
    assert usual(role, template={"default": '{% if message["role"] == "model" %}' + ANY_ROLE}) == []


def test_each_role_is_told_once_and_a_text_has_none() -> None:
    assert usual("human", "gpt", "human") == ["'user'.", "'assistant'."]
    assert role_findings("human: Hi!", "prompt 0", "student", ANY_ROLE) == []


def test_a_run_names_the_row(pair, tmp_path) -> None:
    prompts = [[{"role": role, "content": "Hi!"}] for role in ("user", "user", "human", "user")]
    with pytest.raises(FindingError, match="prompt 2 has a message of the role 'human'") as error:
        make_trainer(pair, tmp_path, prompts=prompts)
    assert error.value.finding.kind is FOREIGN_ROLE


def test_a_run_warns_of_an_unknown_role_once_for_each_model(pair, tmp_path) -> None:
    prompts = [[{"role": role, "content": "Hi!"}] for role in ("user", "critic", "critic", "user")]
    trainer = make_trainer(pair, tmp_path, prompts=prompts)
    told = [finding.message for finding in trainer.findings.findings if finding.kind is UNKNOWN_ROLE]
    assert [message[:8] for message in told] == ["prompt 1"] * 2
    assert ["student" in message for message in told] == [True, False]
