"""Roles by the names of other formats are refused, unless the template knows them."""

import pytest

from crossdistill.chat.roles import FOREIGN_ROLE, role_findings
from crossdistill.findings import FindingError
from tests.train.harness import make_trainer

ANY_ROLE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"


def usual(*roles: str, template: object = ANY_ROLE) -> list[str]:
    prompt = [{"role": role, "content": "x"} for role in roles]
    return [finding.message.rpartition(" ")[2] for finding in role_findings(prompt, "prompt 3", "student", template)]


@pytest.mark.parametrize(
    ("role", "name"),
    [("human", "user"), ("gpt", "assistant"), ("User", "user"), ("ASSISTANT", "assistant"), ("model", "assistant")],
)
def test_the_usual_name_is_told(role: str, name: str) -> None:
    assert usual(role) == [f"'{name}'."]


@pytest.mark.parametrize(
    "role", ["system", "user", "assistant", "tool", "developer", "ipython", "observation", "critic"]
)
def test_roles_that_templates_know_and_roles_of_ones_own_pass(role: str) -> None:
    assert usual(role) == []


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
