"""Capabilities that the probe finds, and servers that it refuses."""

import httpx
import numpy as np
import pytest

from crossdistill.errors import InputError, TeacherUnavailableError
from crossdistill.signal import Signal
from crossdistill.teachers import ServedOptions, ServedTeacher
from tests.models import student_tokenizer, teacher_tokenizer
from tests.teachers.served.mock_server import MockServer, refused

QUICK = {"patience_s": 0.3}


def capabilities(server, tokenizer=None, **options):
    teacher = ServedTeacher(
        "http://there", tokenizer or teacher_tokenizer(), ServedOptions(**(QUICK | options)), transport=server.transport
    )
    teacher.close()
    return teacher.capabilities


def expected(server, ids):
    rows = [server.model.log_probs(tuple(ids[:j]))[ids[j]] for j in range(1, len(ids))]
    return np.array(rows)


def test_vllm():
    server = MockServer()
    found = capabilities(server)
    assert (found.dialect.name, found.signal, found.max_top_k) == ("vllm", Signal.TOPK, 20)
    assert (found.model, found.answers_as, found.max_length) == ("tiny", "tiny", 200)
    assert found.lists_models
    assert found.can_next
    assert len(found.fingerprint_ids) > 40
    np.testing.assert_allclose(found.fingerprint, expected(server, found.fingerprint_ids), atol=1e-6)
    text = "\n".join(found.findings)
    assert "model: tiny, context: 200 tokens" in text
    assert "topk, up to 20 tokens" in text
    assert "the same ids for 8 texts" in text


@pytest.mark.parametrize(
    ("most", "found"), [(0, 0), (1, 1), (5, 5), pytest.param(127, 127, marks=pytest.mark.slow), (10_000, 128)]
)
def test_the_largest_top_k(most, found):
    server = MockServer()
    server.most = most
    assert capabilities(server).max_top_k == found
    assert capabilities(server).signal is (Signal.TOPK if most else Signal.SAMPLED)


def test_a_long_context_gets_the_whole_text_and_a_short_one_as_much_as_fits():
    server = MockServer()
    server.models = {"tiny": 40}
    assert 2 <= len(capabilities(server).fingerprint_ids) <= 20
    server.models = {"tiny": None}
    assert capabilities(server).max_length is None


def test_without_a_list_of_models_the_name_is_needed():
    server = MockServer()
    server.models = None
    with pytest.raises(InputError, match=r"does not list its models.*name one"):
        capabilities(server)
    found = capabilities(server, model="tiny")
    assert (found.model, found.max_length, found.lists_models) == ("tiny", None, False)


def test_one_of_several_models():
    server = MockServer()
    server.models = {"tiny": 200, "oth\x1ber": 100}
    with pytest.raises(InputError, match=r"serves 2 models \(tiny, oth\\x1ber\)"):
        capabilities(server)
    with pytest.raises(InputError, match="does not serve 'none'; it serves tiny"):
        capabilities(server, model="none")
    assert capabilities(server, model="tiny").max_length == 200


def test_completions_whose_names_are_those_of_the_vocabulary():
    server = MockServer("completions")
    found = capabilities(server)
    assert (found.dialect.name, found.signal, found.max_top_k) == ("completions", Signal.TOPK, 20)
    assert found.dialect.form.value == "vocabulary entries"
    assert not found.can_next
    np.testing.assert_allclose(found.fingerprint, expected(server, found.fingerprint_ids), atol=1e-6)


def test_completions_whose_names_are_ambiguous_give_only_sampled_tokens():
    server = MockServer("completions")
    server.names = lambda token: server.tokenizer.decode([token])  # <0x41> is called A, and so is A
    found = capabilities(server)
    assert (found.signal, found.max_top_k) == (Signal.SAMPLED, 0)


@pytest.mark.parametrize(("takes_ids", "least"), [(True, 0), (True, 1), (False, 0), (False, 1)])
@pytest.mark.parametrize("numbers", [True, False])
def test_variants_of_completions(takes_ids, least, numbers):
    server = MockServer("completions")
    server.takes_ids, server.least_generated, server.numbers = takes_ids, least, numbers
    found = capabilities(server)
    dialect = found.dialect
    assert (dialect.sends_text, dialect.num_generated, dialect.asks_numbers) == (not takes_ids, least, numbers)
    np.testing.assert_allclose(found.fingerprint, expected(server, found.fingerprint_ids), atol=1e-6)


@pytest.mark.parametrize("dialect", ["vllm", "completions"])
def test_a_chosen_dialect(dialect):
    assert capabilities(MockServer(dialect), dialect=dialect).dialect.name == dialect
    other = {"vllm": "completions", "completions": "vllm"}[dialect]
    with pytest.raises(InputError, match=f"no log-probabilities of a prompt that can be used .{other}: "):
        capabilities(MockServer(dialect), dialect=other)


def test_another_tokenizer_is_refused_at_the_first_difference():
    with pytest.raises(InputError, match=r"of 'The 3 cats.* token 0 is \d+ \(b'.*'\) here and \d+ \(.*\) there"):
        capabilities(MockServer(), student_tokenizer())


def test_a_conversation_shows_a_difference_that_plain_text_does_not():
    """The same text tokens; another token ends the turn."""
    server = MockServer()

    def intercept(path, body):
        if path != "/tokenize":
            return None
        ids = server.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        stop, turn = (server.tokenizer.convert_tokens_to_ids(name) for name in ("<stop>", "<turn>"))
        return httpx.Response(200, json={"tokens": [turn if token == stop else token for token in ids]})

    server.intercept = intercept
    with pytest.raises(InputError, match=r"\('<stop>'\) here and \d+ \('<turn>'\) there"):
        capabilities(server)


@pytest.mark.parametrize("dialect", ["vllm", "completions"])
@pytest.mark.parametrize("numbers", [True, False])
def test_without_tokenize_the_names_of_the_tokens_are_compared(dialect, numbers):
    server = MockServer(dialect)
    server.has_tokenize, server.numbers = False, numbers
    assert "have the same names" in "\n".join(capabilities(server).findings)
    shift = server.names
    server.names = lambda token: shift((token + 1) % server.model.size)
    with pytest.raises(InputError, match=r"token \d is \d+ \(b'.*'\) here and '.*' there"):
        capabilities(server)


def rewritten(server, change):
    """The server with `change` applied to every list of vLLM's rows."""

    def intercept(path, body):
        if "prompt_logprobs" not in body:
            return None
        answer = server.answer(path, body)
        if answer.status_code != 200:
            return answer
        content = answer.json()
        choice = content["choices"][0]
        choice["prompt_logprobs"] = change(choice["prompt_logprobs"], body["prompt"])
        return httpx.Response(200, json=content)

    server.intercept = intercept
    return server


@pytest.mark.parametrize(
    "change",
    [
        lambda rows, ids: [*rows[1:], None],  # row j belongs to the next token
        lambda rows, ids: [{}, *rows[1:]],
        lambda rows, ids: rows[:-1],
        lambda rows, ids: [None, *reversed(rows[1:])],
        lambda rows, ids: [row and {k: v | {"logprob": 0.3} for k, v in row.items()} for row in rows],
    ],
)
def test_rows_that_are_not_of_the_tokens_that_were_sent(change):
    with pytest.raises(InputError, match=r"no log-probabilities of a prompt that can be used .vllm: "):
        capabilities(rewritten(MockServer(), change))


def test_scores_that_look_ahead():
    def change(rows, ids):
        return [row and {k: v | {"logprob": v["logprob"] - 0.01 * len(ids)} for k, v in row.items()} for row in rows]

    with pytest.raises(InputError, match="differently if more text follows"):
        capabilities(rewritten(MockServer(), change))


def test_a_next_token_that_does_not_agree_is_not_asked_for():
    server = MockServer()
    server.has_next = False
    assert not capabilities(server).can_next
    server.has_next = True

    def sharpened(path, body):
        if "logprob_token_ids" not in body:
            return None
        values = {f"token_id:{token}": 0.0 for token in body["logprob_token_ids"]}
        return server.completion({"logprobs": {"top_logprobs": [values]}})

    server.intercept = sharpened
    assert not capabilities(server).can_next


def test_a_server_that_wants_a_key():
    server = MockServer()
    server.intercept = lambda path, body: refused("who are you?", 401)
    with pytest.raises(InputError, match=r"refuses requests without a valid key \(who are you.*set \$MY_KEY"):
        capabilities(server, key_env="MY_KEY")


def test_no_server_of_models():
    server = MockServer()
    server.intercept = lambda path, body: httpx.Response(200, text="<html>welcome</html>")
    with pytest.raises(InputError, match="check the URL"):
        capabilities(server)


def test_a_server_that_is_there_and_slow_or_busy_is_waited_for():
    server = MockServer()
    server.intercept = lambda path, body: httpx.ReadTimeout("slow")
    with pytest.raises(TeacherUnavailableError, match=r"no usable answer for 0\.3 s"):
        capabilities(server)
    left = [httpx.ReadTimeout("slow"), refused("loading", 503), httpx.ReadError("reset"), None]
    server.intercept = lambda path, body: left.pop(0) if len(left) > 1 else left[0]
    assert capabilities(server, patience_s=5).model == "tiny"


def test_a_server_that_cannot_be_reached_is_told_at_once():
    server = MockServer()
    server.intercept = lambda path, body: httpx.ConnectError("nobody")
    with pytest.raises(InputError) as refusal:
        capabilities(server, patience_s=600)
    assert str(refusal.value) == (
        "the teacher at http://there cannot be reached (no connection to there: nobody): start its server or correct "
        "the URL; one that is still starting is waited for with wait_for_start = true in its settings."
    )
    assert len(server.seen) == 1


def test_a_server_that_may_be_starting_is_waited_for():
    server = MockServer()
    left = [httpx.ConnectError("nobody"), httpx.ConnectTimeout("nobody"), None]
    server.intercept = lambda path, body: left.pop(0) if len(left) > 1 else left[0]
    assert capabilities(server, patience_s=5, wait_for_start=True).model == "tiny"


def test_a_dialect_at_which_the_server_fails_is_not_waited_for():
    server = MockServer("completions")
    server.intercept = lambda path, body: refused("internal error", 500) if "prompt_logprobs" in body else None
    assert capabilities(server, patience_s=5).dialect.name == "completions"
