"""``crossdistill align`` and ``crossdistill doctor``."""

import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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
@pytest.mark.parametrize("name", ["no-such-folder", "nobody/nothing"])
def test_tokenizers_that_do_not_exist(pair, name):
    for arguments in ((name, pair.teacher), (pair.student, name)):
        message = run("align", *arguments, "text").message
        assert message.startswith(f"the tokenizer of {name!r} cannot be read (")
        assert message.endswith("give a model's folder, or a hub id that this machine can reach.")


@pytest.mark.parametrize("content", ["[]", "{", "{}", '"text"'])
def test_a_damaged_tokenizer_is_reported(pair, tmp_path, content):
    shutil.copytree(pair.student, tmp_path / "damaged")
    (tmp_path / "damaged" / "tokenizer.json").write_text(content)
    message = run("align", str(tmp_path / "damaged"), pair.teacher, "text").message
    assert message.startswith(f"the tokenizer of '{tmp_path / 'damaged'}' cannot be read (")


@pytest.mark.parametrize("command", ["align", "inspect", "doctor"])
@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "../folder", "a/b/c", ""])
def test_a_folder_that_does_not_exist(pair, command, name):
    for arguments in ((name, pair.teacher), (pair.student, name)):
        message = run(command, *arguments).message
        assert message.startswith(f"the folder {name!r} does not exist: give a model's folder, or a hub id")


def test_a_pipe_is_a_file(pair, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_bytes, TEXT.encode())
        piped = run("align", pair.student, pair.teacher, "--file", str(pipe), "--json")
        writing.result()
    assert piped.out == run("align", pair.student, pair.teacher, TEXT, "--json").out


def test_a_folder_is_no_file(pair, tmp_path):
    message = run("align", pair.student, pair.teacher, "--file", str(tmp_path)).message
    assert message == f"the file {tmp_path} cannot be read (Is a directory): give one that can."


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_every_character(pair, encoding):
    arguments = ("align", pair.student, pair.teacher, TEXT)
    shown = run(*arguments, encoding=encoding)
    assert shown.code == 0
    assert r"\u4f60\u597d" in shown.out
    assert run(*arguments, "--json", encoding=encoding).out == run(*arguments, "--json").out
    assert "你好" in run(*arguments, "--json", encoding=encoding).out


def test_an_error_on_a_terminal_without_every_character(pair):
    assert r"\u4f60" in run("align", pair.student, pair.teacher, "--file", "你", encoding="ascii").message


# --- pages that cannot be written


@pytest.mark.parametrize("command", ["align", "inspect"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the page {} is a folder: name a file to write."),
        ("pipe", "the page {} is a device or a pipe: name a file to write."),
        ("file/page.html", "the page {} lies below {parent}, which is not a folder: name another file."),
        ("x" * 300, "{} cannot be written (File name too long): name another file."),
    ],
)
def test_pages_that_cannot_be_written(tmp_path, monkeypatch, command, name, message):
    """Reported before a tokenizer is read."""
    monkeypatch.setattr("crossdistill.inspection.model_files.read_tokenizer", None)
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    page = tmp_path / name
    found = run(command, str(tmp_path), ".", *(["text"] if command == "align" else []), "--html", str(page))
    assert found.message == message.format(page, parent=page.parent)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.ENOSPC, "Full")])
def test_a_folder_that_cannot_be_written(pair, tmp_path, monkeypatch, error):
    def refuse(**options):
        raise error

    with monkeypatch.context() as patch:  # root may write everywhere
        patch.setattr("tempfile.TemporaryFile", refuse)
        message = run("align", pair.student, pair.teacher, "text", "--html", str(tmp_path / "page.html")).message
    assert message == f"{tmp_path / 'page.html'} cannot be written ({error.strerror}): name another file."


@pytest.mark.parametrize("command", ["align", "inspect"])
def test_a_disk_that_fills_up(pair, tmp_path, monkeypatch, command):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("crossdistill.report.html.write_text", refuse)
    monkeypatch.setattr("crossdistill.report.inspection.page.write_text", refuse)
    arguments = (pair.student, pair.teacher, *(["text"] if command == "align" else []))
    message = run(command, *arguments, "--html", str(tmp_path / "page.html")).message
    assert "cannot be written (No space left on device)" in message


def test_a_tokenizer_whose_bytes_cannot_be_verified(pair, whole_words):
    assert "not a family whose bytes can be verified" in run("align", whole_words, pair.teacher, "text").message


# --- doctor


def test_doctor_lists_versions_and_back_ends():
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
    assert "not a family whose bytes can be verified" in run("doctor", whole_words, weightless.teacher).message
    assert "do not belong together" in run("doctor", weightless.student, mismatched).message
    assert (
        "the tokenizer of 'nobody/nothing' cannot be read"
        in run("doctor", weightless.student, "nobody/nothing").message
    )


def test_doctor_takes_keyword_arguments_of_templates(weightless):
    given = ("--student-template-kwargs", "[1]")
    assert run("doctor", weightless.student, weightless.teacher, *given).message.startswith(given[0] + " is a list")
    assert run("doctor", *given).message.startswith("keyword arguments of templates are about a pair")


def test_the_command_line_starts_without_the_heavy_libraries():
    program = "import sys, crossdistill.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "trl"} & set(loaded)
