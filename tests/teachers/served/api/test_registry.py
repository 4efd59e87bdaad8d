"""Dialects by name, and one of one's own by its import path."""

from functools import partial

import httpx
import pytest
from pydantic import ValidationError

from crossdistill import InputError
from crossdistill.signal import Signal
from crossdistill.teachers import ServedOptions, ServedTeacher, TeacherRequest
from crossdistill.teachers.served.api import registry
from crossdistill.teachers.served.api.answers import PromptLogprobs, field, realised
from crossdistill.teachers.served.api.dialect import Dialect
from tests.models import teacher_tokenizer
from tests.teachers.served.mock_server import MockServer

HERE = "tests.teachers.served.api.test_registry"


class Sampled(Dialect):
    """vLLM without a top k: the least that a dialect must implement."""

    name = "sampled"
    num_generated = 1

    @classmethod
    def variants(cls, tokenizer, names):
        yield cls()

    def body(self, ids, top_k):
        return {"prompt": list(ids), "max_tokens": 1, "prompt_logprobs": 0}

    def read(self, answer, ids, top_k):
        rows = field(answer, "choices", 0, "prompt_logprobs")
        return PromptLogprobs(realised([rows[k][str(token)]["logprob"] for k, token in enumerate(ids) if k]))

    def tokens(self, answer):
        return [None] * len(field(answer, "choices", 0, "prompt_logprobs"))

    @property
    def identifies_tokens(self):
        return False


def test_every_dialect_has_its_name():
    assert registry.available() == ("vllm", "completions")
    for name in registry.available():
        assert registry.get(name).name == name
        assert registry.candidates(name) == [registry.get(name)]
    assert [kind.name for kind in registry.candidates("auto")] == list(registry.available())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sglang", "there is no dialect 'sglang'; choose one of vllm, completions, or give the import path"),
        ("auto", "there is no dialect 'auto'"),
        ("no_such_package:Mine", "dialect 'no_such_package:Mine': there is no module 'no_such_package'"),
        (f"{HERE}:MockServer", "is not a subclass of crossdistill.teachers.served.api.dialect.Dialect"),
        (f"{HERE}:HERE", "is not a subclass of"),
    ],
)
def test_a_name_that_is_not_a_dialect_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        registry.get(name)


def test_options_take_names_of_the_registry():
    for name in ("auto", *registry.available(), f"{HERE}:Sampled"):
        assert ServedOptions(dialect=name).dialect == name
    with pytest.raises(ValidationError, match="Input should be one of auto, vllm, completions, or an import path"):
        ServedOptions(dialect="sglang")


class Shortened(Sampled):
    """An API that leaves out the prompt's rows if it is told where they end."""

    name = "shortened"

    def body_from(self, ids, top_k, first):
        return self.body(ids, top_k) | {"first": first}

    def read_from(self, answer, ids, top_k, first):
        rows = field(answer, "choices", 0, "prompt_logprobs")
        assert len(rows) == len(ids) - first - 1
        return PromptLogprobs(
            realised([row[str(token)]["logprob"] for row, token in zip(rows, ids[first + 1 :], strict=True)])
        )


def shortening(server, path, body):
    """The server's answer without the rows before the first that is wanted."""
    if "first" not in body:
        return None
    whole = server.vllm(body).json()
    choice = whole["choices"][0]
    choice["prompt_logprobs"] = choice["prompt_logprobs"][body["first"] + 1 :]
    return httpx.Response(200, json=whole)


def test_a_dialect_can_leave_out_the_prompts_rows():
    server, given = MockServer(), TeacherRequest([5, 6, 7], [20, 21, 22], False)
    server.intercept = partial(shortening, server)
    found = []
    for name in ("Sampled", "Shortened"):
        options = ServedOptions(patience_s=0.3, dialect=f"{HERE}:{name}")
        teacher = ServedTeacher("http://there", teacher_tokenizer(), options, transport=server.transport)
        found.append(teacher.score([given])[0].logprobs.tolist())
        teacher.close()
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_a_dialect_of_ones_own_teaches():
    server = MockServer()
    options = ServedOptions(patience_s=0.3, dialect=f"{HERE}:Sampled")
    teacher = ServedTeacher("http://there", teacher_tokenizer(), options, transport=server.transport)
    teacher.close()
    found = teacher.capabilities
    assert (found.dialect.name, str(found.dialect), found.signal) == ("sampled", "sampled", Signal.SAMPLED)
    assert not found.can_next
    assert "dialect: sampled" in found.findings
    assert found.dialect.next_body((1, 2), (3,)) is None
    with pytest.raises(NotImplementedError, match="the dialect sampled does not ask for the next token"):
        found.dialect.read_next({}, (3,))
