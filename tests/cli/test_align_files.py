"""``crossdistill align`` on files of responses and on run folders."""

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crossdistill.cli.commands import align
from crossdistill.report.alignment.view import SampleView
from tests.cli.harness import Result, run
from tests.models import student_tokenizer
from tests.report.views import view_of

TEXTS = ["Add 12 and 30.", "naïve café: 你好", "x ≥ 2√2"]


def write(folder: Path, *rows: Any, name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def views(result: Result) -> list[SampleView]:
    assert result.code == 0, result.err
    return [SampleView.from_dict(json.loads(line)) for line in result.out.splitlines()]


def text_of(view: SampleView) -> str:
    return "".join(chunk.text for chunk in view.chunks).replace("␣", " ")


@pytest.mark.parametrize("column", ["response", "completion", "text", "output"])
def test_texts_under_the_usual_names(weightless, tmp_path, column):
    rows = [{"prompt": f"prompt {k}", column: text, "other": 3} for k, text in enumerate(TEXTS)]
    result = run("align", weightless.student, weightless.teacher, "--responses", write(tmp_path, *rows), "--json")
    assert [text_of(view) for view in views(result)] == TEXTS
    assert [view.prompt for view in views(result)] == ["prompt 0", "prompt 1", "prompt 2"]


def test_each_row_is_aligned_as_a_text_alone_would_be(weightless, tmp_path):
    path = write(tmp_path, {"response": TEXTS[1]})
    (row,) = views(run("align", weightless.student, weightless.teacher, "--responses", path, "--json"))
    (alone,) = views(run("align", weightless.student, weightless.teacher, TEXTS[1], "--json"))
    assert row == alone


def test_a_named_column_and_messages(weightless, tmp_path):
    messages = [{"role": "user", "content": "why?"}]
    answer = [{"role": "assistant", "content": TEXTS[0]}]
    path = write(tmp_path, {"prompt": messages, "response": "not this", "mine": answer})
    result = run("align", weightless.student, weightless.teacher, "--responses", path, "--column", "mine", "--json")
    (view,) = views(result)
    assert text_of(view) == TEXTS[0]
    assert view.prompt == "why?"


def test_token_ids_are_not_tokenised_again(weightless, tmp_path):
    tokenizer = student_tokenizer()
    letters = [tokenizer.convert_tokens_to_ids(char) for char in "the"]
    padding = len(tokenizer) + 1  # an id that only the model knows
    path = write(tmp_path, {"ids": [*letters, padding, tokenizer.eos_token_id], "response": "ignored"})
    (view,) = views(run("align", weightless.student, weightless.teacher, "--responses", path, "--json"))
    assert [token.text for chunk in view.aligned_chunks for token in chunk.student] == ["t", "h", "e"]
    others = [chunk for chunk in view.chunks if chunk not in view.aligned_chunks]
    assert [(chunk.kind, chunk.text) for chunk in others] == [("dropped", f"<id␣{padding}>"), ("stop", "<|end|>")]


def test_other_files_of_rows(weightless, tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "rows.csv").write_text("prompt,response\nwhy,because\n")
    (view,) = views(
        run("align", weightless.student, weightless.teacher, "--responses", str(tmp_path / "rows.csv"), "--json")
    )
    assert text_of(view) == "because"


@pytest.mark.parametrize("content", [[{"response": text} for text in TEXTS], {"response": TEXTS[0]}])
def test_rows_of_a_json_file(weightless, tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(content, indent=1))
    result = run("align", weightless.student, weightless.teacher, "--responses", str(path), "--json")
    assert [text_of(view) for view in views(result)] == (TEXTS if isinstance(content, list) else TEXTS[:1])


def test_lines_of_a_json_file(weightless, tmp_path):
    path = write(tmp_path, *({"response": text} for text in TEXTS), name="rows.json")
    result = run("align", weightless.student, weightless.teacher, "--responses", path, "--json")
    assert [text_of(view) for view in views(result)] == TEXTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "{} holds no responses: give an array of objects"),
        ("", "{} holds no responses"),
        ("[1]", "row 1 of {} is of type int: it must be a JSON object."),
        ('[{"response": ', "line 1 of {} is not JSON"),
        ("[" * 200_000, "line 1 of {} is nested too deeply"),
    ],
)
def test_json_files_without_responses(weightless, tmp_path, content, message):
    path = tmp_path / "rows.json"
    path.write_text(content)
    found = run("align", weightless.student, weightless.teacher, "--responses", str(path)).message
    assert found.startswith(message.format(path))


def test_a_page_of_many(weightless, tmp_path):
    path = write(tmp_path, *({"response": text} for text in TEXTS * 30))
    page = tmp_path / "page.html"
    result = run("align", weightless.student, weightless.teacher, "--responses", path, "--html", str(page))
    assert f"the first {align.NUM_SHOWN} responses" in result.out
    assert f"sample {align.NUM_SHOWN}" in result.out
    html = page.read_text()
    assert f'id="s{align.NUM_SHOWN}-c1"' in html
    assert f'id="s{align.NUM_SHOWN + 1}"' not in html
    assert len(views(run("align", weightless.student, weightless.teacher, "--responses", path, "--json"))) == 90
    limited = run("align", weightless.student, weightless.teacher, "--responses", path, "--json", "--limit", "2")
    assert len(views(limited)) == 2


def test_a_file_is_read_row_by_row(weightless, tmp_path):
    path = write(tmp_path, {"response": "first"})
    with Path(path).open("a") as file:
        file.write("not JSON\n")
    result = run("align", weightless.student, weightless.teacher, "--responses", path, "--json", "--limit", "1")
    assert len(views(result)) == 1
    message = run("align", weightless.student, weightless.teacher, "--responses", path, "--json").message
    assert message.startswith(f"line 2 of {path} is not JSON")


def test_a_long_text_is_cut_and_says_so(weightless):
    result = run("align", weightless.student, weightless.teacher, "x" * 50, "--json", "--max-bytes", "10")
    (view,) = views(result)
    assert text_of(view) == "x" * 10
    assert view.note == "the first 10 of 50 bytes; --max-bytes takes more"


def samples(folder: Path, *rows: Any) -> str:
    return write(folder, *rows, name="samples.jsonl")


def test_the_samples_of_a_run(weightless, tmp_path, student_vocab_pair):
    student, teacher = student_vocab_pair
    view = view_of(TEXTS[0], student, teacher, prompt="why?", student_logprobs=None)
    ids = student.encode(TEXTS[0]).ids.tolist()
    samples(tmp_path, {"prompt": "why?", "response": TEXTS[0], "ids": ids, "view": view.as_dict()})
    assert views(run("align", "--run", str(tmp_path), "--json")) == [view]
    result = run("align", weightless.student, weightless.teacher, "--run", str(tmp_path), "--json")
    assert [text_of(anew) for anew in views(result)] == [TEXTS[0]]
    assert "chunks" in run("align", "--run", str(tmp_path)).out


def test_sampled_bytes_are_aligned_anew_instead_of_their_escapes(weightless, tmp_path, student_vocab_pair):
    student, _ = student_vocab_pair
    data = "你".encode()[:2]  # as a response that its budget cut
    row = {"prompt": "why?", "response": data.decode("utf-8", "backslashreplace")}
    exact = {"bytes": base64.b64encode(data).decode(), "ids": [1]}  # of another student, say
    before = {"ids": student.encode(data).ids.tolist()}  # a run before the bytes were kept
    samples(tmp_path, {**row, **exact}, {**row, **before})
    found = views(run("align", weightless.student, weightless.teacher, "--run", str(tmp_path), "--json"))
    assert [text_of(view) for view in found] == [r"\xe4\xbd"] * 2
    assert [view.chunks[-1].byte_span[1] for view in found] == [len(data)] * 2  # its escapes are eight characters
    assert [view.prompt for view in found] == ["why?"] * 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"bytes": 3}, "row 1 of {} holds no base64 in 'bytes'"),
        ({"bytes": "a-b"}, "row 1 of {} holds no base64 in 'bytes'"),
        ({"response": "text"}, "row 1 of {} has no 'ids' column"),
        ({"ids": [99_999]}, "token id 99999 is not one of the student's"),
    ],
)
def test_samples_that_cannot_be_aligned_anew(weightless, tmp_path, row, message):
    path = samples(tmp_path, row)
    found = run("align", weightless.student, weightless.teacher, "--run", str(tmp_path)).message
    assert found.startswith(message.format(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda view: 3, "Input should be"),
        (lambda view: {}, "prompt: Field required"),
        (lambda view: {**view, "chunks": 3}, "chunks: Input should be a valid tuple"),
        (lambda view: with_chunk(view, kind="9:9"), "chunks.0.kind: Input should be '1:1', '1:n'"),
        (lambda view: with_chunk(view, kind="1:n"), "chunks.0: 1 student and 1 teacher tokens do not make a 1:n chunk"),
        (lambda view: with_chunk(view, student=[]), "chunks.0: 0 student and 1 teacher tokens do not make a 1:1 chunk"),
        (lambda view: with_chunk(view, student=[], teacher=[], kind="n:m"), "chunks.0: 0 student and 0 teacher"),
        (lambda view: with_chunk(view, student=[{"text": 3}]), "chunks.0.student.0.text: Input should be a valid"),
        (lambda view: with_chunk(view, byte_span=[1]), "chunks.0.byte_span.1: Field required"),
    ],
)
def test_damaged_views(tmp_path, student_vocab_pair, change, message):
    view = json.loads(json.dumps(view_of("3", *student_vocab_pair).as_dict()))
    assert view["chunks"][0]["kind"] == "1:1"
    path = samples(tmp_path, {"view": change(view)})
    found = run("align", "--run", str(tmp_path)).message
    assert found.startswith(f"the view in row 1 of {path} is damaged ({message}"), found
    assert found.endswith("name STUDENT and TEACHER to align the responses anew.")


def test_samples_without_a_view(tmp_path):
    path = samples(tmp_path, {"response": "text"})
    assert run("align", "--run", str(tmp_path)).message.startswith(f"row 1 of {path} holds no view")


def with_chunk(view: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**view, "chunks": [{**view["chunks"][0], **fields}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "{} holds no responses: give a file with one object per line."),
        ("\n \n", "{} holds no responses"),
        ("[" * 200_000, "line 1 of {} is nested too deeply to be a response"),
        ('{"response": ' + "1" * 5000 + "}", "line 1 of {} is not JSON (Exceeds the limit"),
    ],
)
def test_lines_that_hold_no_responses(weightless, tmp_path, content, message):
    path = tmp_path / "samples.jsonl"
    path.write_text(content)
    pair = (weightless.student, weightless.teacher)
    for arguments in ((*pair, "--responses", str(path)), (*pair, "--run", str(tmp_path)), ("--run", str(tmp_path))):
        assert run("align", *arguments).message.startswith(message.format(path))
        assert run("align", *arguments, "--json").message.startswith(message.format(path))


def test_responses_through_a_pipe(weightless, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_text, json.dumps({"response": TEXTS[0]}) + "\n")
        result = run("align", weightless.student, weightless.teacher, "--responses", str(pipe), "--json")
        writing.result()
    assert [text_of(view) for view in views(result)] == [TEXTS[0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "nowhere"], "nowhere has no samples.jsonl, which a run writes as it ends"),
        (["S"], "name a student and a teacher"),
        ([], "name a student and a teacher"),
        (["S", "T", "text", "--responses", "x"], "a text and --responses were both given: give one of them."),
        (["S", "T", "--run", "x", "--file", "y"], "--file and --run were both given: give one of them."),
        (["S", "T", "--column", "x"], "--column names a column of a file of responses"),
        (["S", "T", "--responses", "none.jsonl"], "there is no file none.jsonl"),
    ],
)
def test_refused(arguments, message):
    assert run("align", *arguments).message.startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "why?"}, "row 1 of {} has none of the columns ids, completion_ids"),
        ({"response": 3}, "'response' in row 1 of {} is of type int: it must be a text, messages or token ids."),
        ({"ids": [1.5]}, "'ids' in row 1 of {} is of type list"),
        ([1], "line 1 of {} is of type list: it must be a JSON object."),
    ],
)
def test_rows_without_a_response(weightless, tmp_path, row, message):
    path = write(tmp_path, row)
    found = run("align", weightless.student, weightless.teacher, "--responses", path).message
    assert found.startswith(message.format(path))


def test_a_column_that_is_not_there(weightless, tmp_path):
    path = write(tmp_path, {"text": "a"})
    found = run("align", weightless.student, weightless.teacher, "--responses", path, "--column", "mine").message
    assert found == f"row 1 of {path} has no 'mine' column, only text: name the one to read with --column."
