"""``crossdistill doctor --teacher URL``: findings about a server on loopback."""

import re
import shutil
import time
from collections.abc import Sequence

import numpy as np
import pytest
from transformers import GenerationConfig

from crossdistill import ByteVocab
from crossdistill.align import DropReason
from crossdistill.cli import server_check
from crossdistill.teachers import TeacherRequest, TeacherScore
from tests.cli.harness import Result, run
from tests.models import student_tokenizer, teacher_tokenizer
from tests.teacher_server import Settings, TeacherServer
from tests.teacher_server.cases import scorer_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    teacher_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server_check, "SECONDS", 0.2)
    monkeypatch.setattr(server_check, "PATIENCE_S", 0.5)
    monkeypatch.delenv("CROSSDISTILL_TEACHER_KEY", raising=False)


def doctor(server: TeacherServer | str, tokenizer: str, *arguments: str) -> Result:
    url = server if isinstance(server, str) else server.url
    return run("doctor", "--teacher", url, "--teacher-tokenizer", tokenizer, *arguments)


def refusal(result: Result) -> str:
    """The reason on stderr, and nothing else there."""
    assert result.code == 1, (result.code, result.out, result.err)
    assert "Traceback" not in result.err
    assert "throughput" not in result.out
    prefix, _, reason = result.err.strip().partition("this server cannot teach: ")
    assert prefix == ""
    assert "\n" not in reason
    return reason


def test_settings_and_declared_stops_are_those_of_a_run(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(server_check, "SECONDS", 2.0)  # for a second round on a busy machine too
    shutil.copytree(tokenizer, tmp_path / "two")
    loaded = teacher_tokenizer()
    GenerationConfig(eos_token_id=[loaded.eos_token_id, loaded.pad_token_id]).save_pretrained(tmp_path / "two")
    with TeacherServer(scorer_of()) as server:
        result = doctor(server, str(tmp_path / "two"), "--set", "max_in_flight=2", "--set", "dialect=completions")
        assert server.log.most_concurrent() == 2
    assert result.code == 0, result.err
    assert "2; all but the first take one request" in " ".join(result.out.split())
    assert "completions" in result.out
    assert re.search(r"with\s+2", result.out)
    assert "unknown key 'in_flight'" in doctor("http://there", tokenizer, "--set", "in_flight=2").message
    assert "give its URL with --teacher" in run("doctor", "--set", "max_in_flight=2").message


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (Settings(), ["tiny", "256 tokens", "topk, up to 20 tokens", "vllm"]),
        (Settings(vllm=False, byte_names=True, max_logprobs=5), ["tiny", "unknown", "sampled", "completions"]),
    ],
)
def test_the_findings_and_the_throughput_are_shown(tokenizer, settings, shown):
    with TeacherServer(scorer_of(), settings) as server:
        result = doctor(server, tokenizer)
    assert result.code == 0, result.err
    assert result.err == ""
    for words in (*shown, "installed", "back-ends here"):
        assert words in result.out
    rates = re.findall(r"([\d,]+) with (\d+)", result.out)
    assert [int(size) for _, size in rates] == [1, 2, 4, 8, 16][: len(rates)]
    assert rates
    assert all(int(rate.replace(",", "")) > 0 for rate, _ in rates)


def test_no_request_is_longer_than_the_context(tokenizer):
    with TeacherServer(scorer_of()) as server:
        doctor(server, tokenizer)
        asked = {len(seen.ids): seen.status for seen in server.log.requests}
    assert 200 < max(asked) <= 256
    assert asked[max(asked)] == 200


def test_a_model_is_requested_by_its_name(tokenizer):
    with TeacherServer(scorer_of(), Settings(name="some/model")) as server:
        assert "some/model" in doctor(server, tokenizer, "--teacher-model", "some/model").out
        assert "some/model" in refusal(doctor(server, tokenizer, "--teacher-model", "another"))


def test_a_server_with_another_tokenizer_is_refused_with_the_first_difference(tmp_path):
    student_tokenizer().save_pretrained(tmp_path)
    with TeacherServer(scorer_of()) as server:
        reason = refusal(doctor(server, str(tmp_path)))
    assert "tokenizer is not the one that was given" in reason
    assert re.search(r"token 0 is \d+ .*here and \d+ .*there", reason)


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(tokenizer, monkeypatch):
    with TeacherServer(scorer_of(), Settings(key="sesame-1234")) as server:
        assert "CROSSDISTILL_TEACHER_KEY" in refusal(doctor(server, tokenizer))
        monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", "sesame-1234")
        result = doctor(server, tokenizer)
        assert result.code == 0
        monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", "sesame-12345")
        wrong = doctor(server, tokenizer)
    assert wrong.code == 1
    assert "sesame" not in result.out + result.err + wrong.out + wrong.err


def test_a_server_that_does_not_answer_is_reported_soon(tokenizer):
    with TeacherServer(scorer_of()) as server:
        url = server.url
    begun = time.monotonic()
    refusal(doctor(url, tokenizer))
    assert time.monotonic() - begun < 20


def test_a_servers_messages_are_not_markup(tokenizer):
    name = "[bold red]model[/] [/nothing] \x1b[31m"
    with TeacherServer(scorer_of(), Settings(name=name)) as server:
        result = doctor(server, tokenizer)
        wrong = doctor(server, tokenizer, "--teacher-model", "another")
    assert result.code == 0
    for shown in (result.out, refusal(wrong)):
        assert "[bold red]model[/] [/nothing]" in shown
        assert "\x1b" not in shown


def test_incomplete_arguments_are_bad_input(tokenizer, tmp_path):
    with TeacherServer(scorer_of()) as server:
        message = run("doctor", "--teacher", server.url).message
    assert "--teacher-tokenizer" in message
    assert "it serves tiny" in message
    assert "cannot be reached" in refusal(run("doctor", "--teacher", server.url))
    assert "--teacher" in run("doctor", "--teacher-tokenizer", tokenizer).message
    assert "--teacher" in run("doctor", "--teacher-model", "name").message
    assert "does not exist" in doctor("http://127.0.0.1:1", str(tmp_path / "no folder")).message


# the measurement


class Clock:
    """Time that passes only while a teacher scores."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(server_check, "time", CLOCK)


class TimedTeacher:
    """Takes `seconds` of the clock for every call, and scores all but every `drops`-th request."""

    def __init__(self, seconds: float, drops: int = 0):
        self.vocab = ByteVocab.from_tokenizer(teacher_tokenizer())
        self.calls: list[list[TeacherRequest]] = []
        self._seconds, self._drops, self._num_seen = seconds, drops, 0

    def score(self, requests: Sequence[TeacherRequest]) -> list[TeacherScore | DropReason]:
        self.calls.append(list(requests))
        CLOCK.now += self._seconds
        return [self._answer(request) for request in requests]

    def _answer(self, request: TeacherRequest) -> TeacherScore | DropReason:
        self._num_seen += 1
        if self._drops and self._num_seen % self._drops == 0:
            return DropReason.TEACHER_REFUSED
        return TeacherScore(np.zeros(len(request.response_ids), np.float32), None)


def test_rates_count_scored_tokens(clock):
    teacher = TimedTeacher(0.05)
    rates = server_check.measure(teacher, 11, 4, seconds=0.3)
    assert [rate.num_requests for rate in rates] == [1, 2, 4]
    for rate in rates:
        assert rate.tokens_per_s == pytest.approx(10 * rate.num_requests / 0.05)
    assert [len(call) for call in teacher.calls] in ([1, 2, 4, 4, 4, 4], [1, 2, 4, 4, 4, 4, 4])  # 0.3 s are six calls


def test_dropped_requests_do_not_count(clock):
    one, all_of_them = TimedTeacher(0.05, drops=2), TimedTeacher(0.01, drops=1)
    best = server_check.measure(one, 101, 4, seconds=0.3)[-1]
    assert best.tokens_per_s == pytest.approx(100 * 2 / 0.05)
    assert "none" in server_check.in_words(server_check.measure(all_of_them, 101, 4, seconds=0.05), 101)


def test_a_slow_server_gets_one_request(clock):
    teacher = TimedTeacher(0.2)
    assert [rate.num_requests for rate in server_check.measure(teacher, 50, 16, seconds=0.1)] == [1]
    assert len(teacher.calls) == 1


def test_every_request_is_different(clock):
    teacher = TimedTeacher(0.001)
    server_check.measure(teacher, 64, 16, seconds=0.1)
    asked = [(*request.prompt_ids, *request.response_ids) for call in teacher.calls for request in call]
    assert {len(ids) for ids in asked} == {64}
    assert len(set(asked)) > 0.9 * min(len(asked), 500)
