"""``crossdistill inspect``."""

import json
import shutil

import pytest

from crossdistill import ByteVocab
from crossdistill.inspection import corpus, expected_coverage
from tests.cli.harness import run
from tests.models import PADDING_IDS, student_tokenizer, teacher_tokenizer


def test_a_pair_is_shown_from_tokenizers_and_configurations_alone(weightless):
    result = run("inspect", weightless.student, weightless.teacher, "--full")
    assert result.code == 0
    for words in (
        "byte_level_bpe",
        "sentencepiece_bpe",
        "by category",
        "languages",
        "largest chunks",
        "dpca",
        "<|end|>",
    ):
        assert words in result.out
    assert result.err == ""


def test_a_page_with_the_verdict_first(weightless):
    result = run("inspect", weightless.student, weightless.teacher, columns=100)
    assert result.out.startswith("usable: ")
    assert result.out.count("\n") <= 40


def test_json(weightless):
    found = json.loads(run("inspect", weightless.student, weightless.teacher, "--json").out)
    student, teacher = student_tokenizer(), teacher_tokenizer()
    sides = ByteVocab.from_tokenizer(student), ByteVocab.from_tokenizer(teacher)
    assert found["promised_coverage"] == expected_coverage(*sides)
    assert found["student"]["padding"] == PADDING_IDS
    assert found["student"]["context"] == 128
    assert found["teacher"]["context"] == 256
    assert set(found["documents"]) == {item.title for item in corpus()}


def test_html(weightless, tmp_path):
    page = tmp_path / "pages" / "pair.html"
    assert run("inspect", weightless.student, weightless.teacher, "--html", str(page)).code == 0
    assert "Largest chunks" in page.read_text()


@pytest.mark.usefixtures("offline")
def test_it_refuses_what_a_run_would(weightless, whole_words, mismatched):
    assert "name two models" in run("inspect", weightless.student, weightless.student).message
    message = run("inspect", whole_words, weightless.teacher).message
    assert message.startswith(f"the student {whole_words!r} cannot be used")
    assert "do not belong together" in run("inspect", weightless.student, mismatched).message
    assert "cannot be read" in run("inspect", weightless.student, "nobody/nothing").message


def test_tokenizers_alone(weightless, tmp_path):
    student_tokenizer().save_pretrained(tmp_path / "bare")
    result = run("inspect", str(tmp_path / "bare"), weightless.teacher, "--json")
    found = json.loads(result.out)["student"]
    assert (found["padding"], found["context"]) == (0, None)
    assert found["ids"] == len(student_tokenizer())


def test_an_adapter_is_not_a_model(weightless, tmp_path):
    student_tokenizer().save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    assert "is an adapter, not a model" in run("inspect", str(tmp_path / "adapter"), weightless.teacher).message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"eos_token_id": "x"}', "names 'x' as eos_token_id, which is not one of the model's 326 token ids"),
        ('{"eos_token_id": 326}', "names 326 as eos_token_id"),
        ('{"eos_token_id": [1, -1]}', "names -1 as eos_token_id"),
        ('{"eos_token_id": [[1]]}', "names [1] as eos_token_id"),
        ('{"eos_token_id": true}', "names True as eos_token_id"),
        ("[1]", "holds a list, not a JSON object"),
        ("{", "cannot be read as JSON"),
        ("[" * 200_000, "cannot be read as JSON"),
    ],
)
def test_an_invalid_generation_configuration(weightless, tmp_path, content, message):
    student = shutil.copytree(weightless.student, tmp_path / "student")
    (student / "generation_config.json").write_text(content)
    found = run("inspect", str(student), weightless.teacher).message
    assert message in found
    assert "generation_config.json" in found
    assert found.endswith("repair it.")


@pytest.mark.parametrize("command", ["inspect", "align"])
def test_an_invalid_configuration(weightless, tmp_path, command):
    student = shutil.copytree(weightless.student, tmp_path / "student")
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps({**config, "vocab_size": "many"}))
    found = run(command, str(student), weightless.teacher, *["some text"] * (command == "align")).message
    assert "cannot be read" in found
    assert "vocab_size" in found


@pytest.mark.parametrize("content", ['{"eos_token_id": [0, 1]}', '{"eos_token_id": null}', "{}"])
def test_a_generation_configuration_is_read(weightless, tmp_path, content):
    student = shutil.copytree(weightless.student, tmp_path / "student")
    (student / "generation_config.json").write_text(content)
    stops = json.loads(run("inspect", str(student), weightless.teacher, "--json").out)["student"]["stops"]
    names = student_tokenizer().convert_ids_to_tokens([0, 1])
    assert (set(names) <= set(stops)) == (content != "{}" and "null" not in content)


OPENS = "{% if add_generation_prompt and thinking %}{{ '<think>\n' }}{% endif %}"


def test_templates_are_tried_with_the_keyword_arguments_of_the_run(weightless, tmp_path):
    """A student that reasons if its template says so, under a teacher that does not."""
    tokenizer = student_tokenizer()
    assert tokenizer.chat_template is not None
    tokenizer.chat_template += OPENS
    student = shutil.copytree(weightless.student, tmp_path / "student")
    tokenizer.save_pretrained(student)

    def mismatches(ours: str, theirs: str = "{}", name: str = str(student)) -> list[str]:
        options = ("--student-template-kwargs", ours, "--teacher-template-kwargs", theirs, "--json")
        pair = (name, weightless.teacher) if name == str(student) else (weightless.teacher, str(student))
        findings = json.loads(run("inspect", *pair, *options).out)["findings"]
        return [finding["message"] for finding in findings if finding["kind"] == "beginnings_differ"]

    assert mismatches("{}") == []
    assert mismatches('{"thinking": false}', '{"thinking": true}') == []
    (sentence,) = mismatches('{"thinking": true}')
    assert "the response begins inside a block of reasoning for the student" in sentence
    (turned,) = mismatches("{}", '{"thinking": true}', name="turned")
    assert "inside a block of reasoning for the teacher" in turned
    assert "begins inside a block" in run(
        "doctor", str(student), weightless.teacher, "--student-template-kwargs", '{"thinking": true}'
    ).out.replace("\n", " ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "is not JSON (Expecting property name"),
        ("[" * 100_000, "is not JSON (maximum recursion depth"),
        ("[1]", 'is a list: give a JSON object, such as {"enable_thinking": false}.'),
        ("null", "is a NoneType: give a JSON object"),
        ('{"tokenize": true}', "name tokenize, which crossdistill sets"),
    ],
)
def test_invalid_keyword_arguments(given, message):
    for side in ("student", "teacher"):
        assert message in run("inspect", "S", "T", f"--{side}-template-kwargs", given).message
