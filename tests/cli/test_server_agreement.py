"""What ``doctor --teacher`` finds out by scoring the same texts twice, and by a local model."""

import threading

import numpy as np
import pytest
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.cli import server_agreement, server_check
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.teachers import TeacherScore
from crossdistill.teachers.served.fingerprint import token_ids
from tests.cli.harness import run
from tests.models import student_model, student_tokenizer, teacher_model, teacher_tokenizer
from tests.teacher_server import TeacherServer
from tests.teacher_server.cases import scorer_of
from tests.teacher_server.faults import Fault
from tests.teacher_server.log import Seen
from tests.teacher_server.scoring import Entry
from tests.teacher_server.wire import Scored


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server_check, "SECONDS", 0.1)
    monkeypatch.setattr(server_check, "PATIENCE_S", 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """The model that is served, with its tokenizer."""
    made = tmp_path_factory.mktemp("served")
    teacher_tokenizer().save_pretrained(made)
    teacher_model(teacher_tokenizer(), 1).save_pretrained(made)
    return str(made)


def finding(result, subject: str) -> str:
    """The line of a table, whose cells may be folded."""
    words = " ".join(result.out.replace("│", " ").split())
    return words.partition(f" {subject} ")[2]


class Cached:
    """A server with a prefix cache that is wrong: what a text shares with an earlier one gets other scores."""

    def __init__(self, shift_nats: float):
        self._shift, self._seen, self._lock = shift_nats, list[tuple[int, ...]](), threading.Lock()

    def __call__(self, seen: Seen) -> Fault | None:
        if not seen.scores or len(seen.ids) < 60:  # the known text of the probe is shorter
            return None
        with self._lock:
            shared = max((num_shared(seen.ids, other) for other in self._seen), default=0)
            self._seen.append(seen.ids)
        return Fault("cached", rows=lambda scored: self._changed(scored, shared))

    def _changed(self, scored: Scored, shared: int) -> Scored:
        for row, token in zip(scored.rows[1:shared], scored.ids[1:shared], strict=True):
            row[token] = Entry(row[token].logprob - self._shift, row[token].rank)
        return scored


def num_shared(one, other) -> int:
    differing = [j for j, (ours, theirs) in enumerate(zip(one, other, strict=False)) if ours != theirs]
    return differing[0] if differing else min(len(one), len(other))


def doctor(server: TeacherServer, folder: str, *arguments: str):
    return run("doctor", "--teacher", server.url, "--teacher-tokenizer", folder, *arguments)


def test_a_sound_server_scores_the_same_again_and_as_its_model(folder):
    with TeacherServer(scorer_of()) as server:
        result = doctor(server, folder, "--compare-with", folder)
    assert result.code == 0, result.err
    assert "the same" in finding(result, "order").partition("throughput")[0]
    assert "the same" in finding(result, "local model").partition("throughput")[0]
    assert "warning" not in finding(result, "order")


@pytest.mark.parametrize(
    ("shift_nats", "code", "words"),
    [(5e-4, 0, "the same"), (0.01, 0, "as bfloat16"), (0.12, 0, "warning"), (0.5, 1, "")],
)
def test_scores_that_depend_on_what_was_asked_before(folder, shift_nats, code, words):
    with TeacherServer(scorer_of(), script=Cached(shift_nats)) as server:
        result = doctor(server, folder)
    assert result.code == code, result.err
    assert words in finding(result, "order").partition("throughput")[0]
    assert ("another order" in result.err) == (code == 1)
    assert ("--no-enable-prefix-caching" in result.out + result.err) == (shift_nats > 0.05)


def test_another_model_than_the_local_one(folder, tmp_path):
    teacher_tokenizer().save_pretrained(tmp_path)
    teacher_model(teacher_tokenizer(), 2).save_pretrained(tmp_path)
    with TeacherServer(scorer_of()) as server:
        result = doctor(server, folder, "--compare-with", str(tmp_path))
    assert result.code == 0, result.err
    assert "two models" in finding(result, "local model").partition("throughput")[0]


def test_a_local_model_that_does_not_fit_is_bad_input(folder, tmp_path):
    student_tokenizer().save_pretrained(tmp_path)
    student_model(student_tokenizer()).save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with TeacherServer(scorer_of()) as server:
        assert str(tmp_path) in doctor(server, folder, "--compare-with", str(tmp_path)).message
        assert "does not exist" in doctor(server, folder, "--compare-with", str(tmp_path / "none")).message
    assert "--teacher" in run("doctor", "--compare-with", folder).message


def test_a_local_model_of_another_tokenizer_is_not_compared(folder, tmp_path):
    student_tokenizer().save_pretrained(tmp_path)
    student_model(student_tokenizer()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"the local model '{tmp_path}' has another tokenizer"):
        server_check.local_teacher(str(tmp_path), read_tokenizer(folder))


def test_three_texts_share_each_beginning(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [(*one.prompt_ids, *one.response_ids) for one in server_agreement.texts(tokenizer, 64)]
    assert len(set(asked)) == len(asked) == 12
    assert {tokenizer.decode(ids) for ids in asked if token_ids(tokenizer, tokenizer.decode(ids)) != ids} == set()
    for start in range(0, 12, 3):
        assert min(num_shared(asked[start], other) for other in asked[start + 1 : start + 3]) > 20
    assert max(num_shared(asked[start], asked[0]) for start in (3, 6, 9)) < 20


class Answers:
    """A teacher of which every score is known; it keeps the order in which it was asked."""

    def __init__(self, *dropped: int):
        self.asked: list[int] = []
        self._dropped = dropped

    def score(self, requests):
        self.asked += [request.response_ids[0] for request in requests]
        return [self._answer(len(self.asked), request.response_ids[0]) for request in requests]

    def _answer(self, number, token):
        if token in self._dropped:
            return DropReason.TEACHER_REFUSED
        return TeacherScore(np.array([-1.0 - token / 100, -number / 100], np.float32), None)


def requests():
    return [server_agreement.TeacherRequest([1], [token, 2], False) for token in (5, 6, 7)]


def test_a_difference_is_of_the_same_text():
    teacher = Answers()
    found = server_agreement.compare(teacher, teacher, requests())
    assert teacher.asked == [5, 6, 7, 7, 6, 5]
    # at once all are the third request; alone the fourth, the fifth and the sixth
    assert (found.mean_nats, found.most_nats) == (pytest.approx((0.01 + 0.02 + 0.03) / 6), pytest.approx(0.03))
    assert found.num_tokens == 6


def test_what_was_not_scored_is_not_compared():
    some, all_of_them = Answers(6), Answers(5, 6, 7)
    assert server_agreement.compare(some, some, requests()).num_tokens == 4
    assert "not compared" in server_agreement.order(all_of_them, requests())
    assert "not compared" in server_agreement.local(all_of_them, all_of_them, requests())


@pytest.mark.parametrize(
    ("mean_nats", "most_nats", "words"),
    [
        (5e-4, 9e-4, "the same"),
        (5e-4, 2e-3, "bfloat16"),
        (0.06, 0.5, "bfloat16"),
        (0.01, 0.7, "warning"),
        (0.08, 0.1, "warning"),
    ],
)
def test_a_difference_is_judged_by_its_mean_and_by_the_largest(mean_nats, most_nats, words, monkeypatch):
    found = server_agreement.Difference(mean_nats, most_nats, 100)
    monkeypatch.setattr(server_agreement, "compare", lambda *_: found)
    for finding in (server_agreement.order(Answers(), []), server_agreement.local(Answers(), Answers(), [])):
        assert f"of 100: {words}" in finding.replace("as bfloat16", "bfloat16").replace("warning: more", "warning")


def test_the_check_of_a_run_is_the_limit():
    class Drifting(Answers):
        def _answer(self, number, token):
            return TeacherScore(np.array([-float(number)], np.float32), None)

    teacher = Drifting()
    with pytest.raises(InputError, match=r"by 2 nats a token on average, 3 at most, of 3.*42019"):
        server_agreement.order(teacher, requests())
