"""``crossdistill align`` and ``crossdistill doctor``."""

import json
import subprocess
import sys

import pytest

from crossdistill import ByteVocab, align
from tests.cli.harness import run
from tests.models import student_tokenizer, teacher_tokenizer

TEXT = "naïve café: 你好 🤗"


def test_a_text_is_shown(pair):
    result = run("align", pair.student, pair.teacher, TEXT)
    assert result.code == 0
    assert "chunks" in result.out
    assert "caf" in result.out


def test_json(pair):
    result = run("align", pair.student, pair.teacher, TEXT, "--json")
    view = json.loads(result.out)
    student, teacher = ByteVocab.from_tokenizer(student_tokenizer()), ByteVocab.from_tokenizer(teacher_tokenizer())
    expected = align(student.encode(TEXT).ends, teacher.encode(TEXT).ends)
    assert len(view["chunks"]) == expected.num_chunks > 3
    sizes = [(len(chunk["student"]), len(chunk["teacher"])) for chunk in view["chunks"]]
    assert sizes == list(zip(expected.student_sizes.tolist(), expected.teacher_sizes.tolist(), strict=True))


def test_a_file_is_read_as_bytes(pair, tmp_path):
    data = "é".encode() + b"\xff\x00 abc \xe4\xbd"  # invalid UTF-8 in the middle and at the end
    (tmp_path / "bytes.bin").write_bytes(data)
    view = json.loads(run("align", pair.student, pair.teacher, "--file", str(tmp_path / "bytes.bin"), "--json").out)
    piped = json.loads(run("align", pair.student, pair.teacher, "--json", stdin=data).out)
    assert view == piped
    student, teacher = ByteVocab.from_tokenizer(student_tokenizer()), ByteVocab.from_tokenizer(teacher_tokenizer())
    assert len(view["chunks"]) == align(student.encode(data).ends, teacher.encode(data).ends).num_chunks
    assert run("align", pair.student, pair.teacher, "--file", str(tmp_path / "bytes.bin")).code == 0


def test_nothing(pair):
    assert json.loads(run("align", pair.student, pair.teacher, "", "--json").out)["chunks"] == []


def test_html(pair, tmp_path):
    page = tmp_path / "pages" / "alignment.html"
    assert run("align", pair.student, pair.teacher, TEXT, "--html", str(page)).code == 0
    html = page.read_text()
    assert "<html" in html
    assert "caf" in html


def test_only_tokenizers_are_read(pair, weightless):
    assert run("align", weightless.student, weightless.teacher, TEXT).code == 0


@pytest.mark.parametrize("arguments", [["text", "--file", "x"], ["--file", "none.txt"]])
def test_refused(pair, arguments):
    message = run("align", pair.student, pair.teacher, *arguments).message
    assert message.startswith(("a text and --file were both given", "there is no file none.txt"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["no-such-folder", "/no/such/folder", "nobody/nothing"])
def test_tokenizers_that_are_not_there(pair, name):
    for arguments in ((name, pair.teacher), (pair.student, name)):
        message = run("align", *arguments, "text").message
        assert message.startswith(f"the tokenizer of {name!r} cannot be read (")
        assert message.endswith("give a model's folder, or a hub id that this machine can reach.")


def test_a_tokenizer_whose_bytes_cannot_be_verified(pair, whole_words):
    assert "no family whose bytes can be verified" in run("align", whole_words, pair.teacher, "text").message


# --- doctor


def test_doctor_names_versions_and_back_ends():
    result = run("doctor")
    assert result.code == 0
    for name in ("torch", "transformers", "trl", "vllm", "cpu", "distributed"):
        assert name in result.out


def test_doctor_on_a_pair(weightless):
    result = run("doctor", weightless.student, weightless.teacher)
    assert result.code == 0
    assert "byte_level_bpe, bytes verified" in result.out
    assert "326: 316 with bytes, 4 control, 6 padding" in result.out
    assert "sentencepiece_bpe, bytes verified" in result.out
    assert "<|end|>" in result.out
    assert "<stop>" in result.out
    assert "128 tokens" in result.out
    assert "256 tokens" in result.out
    assert "% of the student's tokens" in result.out


@pytest.mark.usefixtures("offline")
def test_doctor_refuses_what_a_run_would(weightless, whole_words, mismatched):
    assert run("doctor", weightless.student).message == "give a student and a teacher, or neither."
    assert "name two models" in run("doctor", weightless.student, weightless.student).message
    assert "no family whose bytes can be verified" in run("doctor", whole_words, weightless.teacher).message
    assert "do not belong together" in run("doctor", weightless.student, mismatched).message
    assert (
        "the tokenizer of 'nobody/nothing' cannot be read"
        in run("doctor", weightless.student, "nobody/nothing").message
    )


def test_the_command_line_starts_without_the_heavy_libraries():
    program = "import sys, crossdistill.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "trl"} & set(loaded)
