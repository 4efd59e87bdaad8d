"""Secrets and trust: the key, certificates, and a server's messages."""

import logging
import ssl
import subprocess
from pathlib import Path

import pytest

from crossdistill import InputError
from crossdistill.errors import TeacherChangedError, TeacherUnavailableError
from crossdistill.teachers.served import ServedTeacher
from tests.teacher_server import Settings, TeacherServer, faults, scripts
from tests.teacher_server.cases import samples, scorer_of, tokenizer_of
from tests.teacher_server.serving import HASTY, QUICK, TOKENS, assert_scored, serving

KEY = "sk-do-not-tell-4711"


@pytest.mark.slow
def test_the_key_is_sent_in_the_header_and_appears_nowhere_else(monkeypatch, caplog, tmp_path, capfd):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with serving(HASTY, key=KEY) as (teacher, server):
        teacher.score(samples(TOKENS))
        assert all(seen.headers["Authorization"] == f"Bearer {KEY}" for seen in server.log.requests)
        assert not any(KEY in seen.target or KEY.encode() in seen.raw for seen in server.log.requests)
        texts = [repr(teacher), str(vars(teacher)), repr(HASTY), HASTY.model_dump_json(), str(teacher.traffic)]
        server.script = scripts.always(faults.status(401, f"Incorrect API key provided: {KEY}"))
        with pytest.raises((TeacherUnavailableError, TeacherChangedError, InputError)) as raised:
            teacher.score(samples(TOKENS)[:1])
        texts += [str(raised.getrepr(showlocals=False)), str(raised.value)]
        server.script = scripts.always(faults.status(500, f"cannot find {KEY}"))
        with pytest.raises(TeacherUnavailableError) as raised:
            teacher.score(samples(TOKENS)[:1])
        texts += [str(raised.value), caplog.text, *capfd.readouterr()]
    assert not any(KEY in text for text in texts)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_follows_to_another_host(status, monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with TeacherServer(scorer_of(TOKENS)) as elsewhere, serving(HASTY, key=KEY) as (teacher, server):
        server.script = scripts.always(faults.redirect(f"{elsewhere.url}/v1/completions", status))
        with pytest.raises((TeacherUnavailableError, TeacherChangedError)):
            teacher.score(samples(TOKENS)[:2])
        assert elsewhere.log.requests == []


def test_without_a_key_no_header_is_sent(monkeypatch):
    monkeypatch.delenv("CROSSDISTILL_TEACHER_KEY", raising=False)
    with serving() as (teacher, server):
        teacher.score(samples(TOKENS)[:1])
        assert not any("Authorization" in seen.headers for seen in server.log.requests)


def test_a_wrong_key_is_refused_at_the_start(monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with (
        TeacherServer(scorer_of(TOKENS), Settings(key="another")) as server,
        pytest.raises((InputError, TeacherUnavailableError), match="CROSSDISTILL_TEACHER_KEY") as raised,
    ):
        ServedTeacher(server.url, tokenizer_of(TOKENS), HASTY)
    assert KEY not in str(raised.value)


def test_a_servers_words_are_data():
    """Terminal control sequences do not get through, and nor do long texts."""
    words = "\x1b[31mred\r\n" + "x" * 5000
    with serving(HASTY) as (teacher, server):
        server.script = scripts.always(faults.status(500, words))
        with pytest.raises(TeacherUnavailableError) as raised:
            teacher.score(samples(TOKENS)[:1])
    message = str(raised.value)
    assert "\x1b" not in message
    assert "\r" not in message
    assert "\\x1b[31mred" in message
    assert len(message) < 700


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1; its key is in the same file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    made = path.with_suffix(".crt")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", path, "-out", made]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, *subject], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    path.write_text(path.read_text() + made.read_text())
    return path


def tls_of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_untrusted_certificate_is_refused(certificate, monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with (
        TeacherServer(scorer_of(TOKENS), tls=tls_of(certificate)) as server,
        pytest.raises((InputError, TeacherUnavailableError), match="certificate"),
    ):
        ServedTeacher(server.url, tokenizer_of(TOKENS), HASTY)
    assert server.log.requests == []


def test_a_certificate_in_ca_bundle_is_trusted(certificate):
    options = QUICK.model_copy(update={"ca_bundle": certificate.with_suffix(".crt")})
    with TeacherServer(scorer_of(TOKENS), tls=tls_of(certificate)) as server:
        teacher = ServedTeacher(server.url, tokenizer_of(TOKENS), options)
        assert server.url.startswith("https://")
        assert_scored(teacher.score(samples(TOKENS)[:3]), samples(TOKENS)[:3])
        teacher.close()
