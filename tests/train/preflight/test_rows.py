"""Checks of rows: what a prompt spells, and whether each model can render it."""

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Routing
from crossdistill.findings import FindingLog
from crossdistill.train.preflight.rows import Reader, RowCheck
from tests.models import student_tokenizer, teacher_tokenizer
from tests.train.harness import make_trainer

USER = {"role": "user", "content": "Hi"}
RENDERED = "<|user|>Hi<|end|><|assistant|>"
OF_TEACHER = "<bos><turn>user\nHi<stop>\n<turn>assistant\n"


@pytest.fixture
def said():
    return []


@pytest.fixture
def check(said):
    student, teacher = student_tokenizer(), teacher_tokenizer()
    readers = [
        Reader(label, PromptRenderer(one, {}, []), context=100, num_ids=len(one))
        for label, one in (("student", student), ("teacher", teacher))
    ]
    return RowCheck(readers[0], {"teacher": readers[1]}, 10, Routing(("teacher",)), FindingLog(said.append))


@pytest.mark.parametrize(
    "prompt",
    [
        "a text",
        "a <b>bold</b> text",
        [USER],
        [{**USER, "name": None, "tool_calls": []}],
        f"{[USER]}",
        [USER, {"role": "assistant", "content": "Ho"}],
    ],
)
def test_rows_that_pass_without_a_word(check, said, prompt):
    check.check(7, {"prompt": prompt})
    assert said == []


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "prompt 7 is None: a prompt must be"),
        (f"{[USER]}"[:-1], "prompt 7 is a text that begins like a conversation"),
        (RENDERED, "prompt 7 was rendered with a chat template before"),
        (OF_TEACHER, "prompt 7 was rendered .* with which the teacher's template marks turns"),
        ([{**USER, "content": RENDERED}], "prompt 7 was rendered with a chat template before"),
        ("word " * 60, "prompt 7 has .* exceeds the student's context of 100"),
        ([USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "prompt 7: the last message"),
    ],
)
def test_rows_that_are_refused_by_their_number(check, prompt, message):
    with pytest.raises(InputError, match=message):
        check.check(7, {"prompt": prompt})


def test_a_refusal_is_raised_each_time(check):
    for prompts in ([RENDERED], ["a text", RENDERED], [RENDERED]):
        with pytest.raises(InputError, match="was rendered with a chat template before"):
            check.check_all([Dataset.from_dict({"prompt": prompts})])


def test_a_template_that_refuses_is_told_with_the_row(check):
    check.student.renderer.tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(InputError, match=r"prompt 7: the chat template of .* refuses a conversation of user \(no\)"):
        check.check(7, {"prompt": [USER]})


def test_a_warning_is_said_for_the_first_row_alone(check, said):
    for number in (3, 4, 5):
        check.check(number, {"prompt": "it ends in <|end|> and goes on"})
    check.check(6, {"prompt": "it begins with <|user|> perhaps"})
    assert [message[:8] for message in said] == ["prompt 3", "prompt 6"]


def test_a_token_without_embeddings_is_refused_where_it_is_spelled(check):
    for reader, token in ((check.student, "<image>"), (check.teachers["teacher"], "<audio>")):
        reader.renderer.tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    check.check(0, {"prompt": "an image"})
    for token, side in (("<image>", "student"), ("<audio>", "teacher")):
        with pytest.raises(
            InputError, match=rf"prompt 7 is rendered with the token '{token}', .* embeddings of the {side}"
        ):
            check.check(7, {"prompt": [{**USER, "content": f"an {token} here"}]})


@pytest.fixture
def no_weights(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trl.trainer.distillation_trainer.create_model_from_path", refuse)


@pytest.mark.parametrize("held_out", [False, True])
def test_every_row_is_looked_at_before_weights_are_read(pair, output, no_weights, held_out):
    """Also one that is neither among the first nor among the longest."""
    bad = ["a text that is long enough"] * 1500 + [RENDERED]
    prompts, options = ["a text"] * 4, {}
    if held_out:
        options = {"trainer_options": {"eval_dataset": Dataset.from_dict({"prompt": bad})}}
    else:
        prompts = bad
    with pytest.raises(InputError, match="prompt 1500 was rendered with a chat template before"):
        make_trainer(pair, output, prompts=prompts, **options)


def test_conversations_in_a_table_are_trained_on_as_messages(pair, output):
    """A CSV file holds them as text; Arrow fills messages of several shapes with nulls."""
    trainer = make_trainer(pair, output, prompts=[f"{[USER]}"] * 4)
    assert trainer.score_prompts([f"{[USER]}"])[0].prompt == [USER]
    trainer._sample_and_score = lambda rows, given=None: pytest.fail(repr(rows[0]["prompt"]))
    with pytest.raises(pytest.fail.Exception, match=r"\[\{'role': 'user', 'content': 'Hi'\}\]"):
        trainer.train()


def test_a_last_answer_is_continued_by_both_models(pair, output):
    trainer = make_trainer(pair, output, prompts=[[USER, {"role": "assistant", "content": "Ho"}]] * 4)
    (scored,) = trainer.score_prompts([[USER, {"role": "assistant", "content": "Ho"}]])
    for renderer in (trainer.student_side, trainer._teacher_renderers["teacher"]):
        assert renderer.tokenizer.decode(renderer.render(scored.prompt)).endswith(("<|assistant|>Ho", "assistant\nHo"))


def test_bpe_dropout_of_either_side_is_switched_off_and_told(pair, output, caplog):
    given = {}
    for name, folder in (("processing_class", pair.student), ("teacher_processing_class", pair.teacher)):
        given[name] = AutoTokenizer.from_pretrained(folder, padding_side="left")
        given[name].backend_tokenizer.model.dropout = 0.5
    trainer = make_trainer(pair, output, trainer_options=given)
    told = [finding.message for finding in trainer.findings.findings if finding.kind.name == "tokenizer_sampling_off"]
    assert [message[:13] for message in told] == ["the student's", "the teacher's"]
    assert sum("reads texts at random" in record.message for record in caplog.records) == 2
    renderer = trainer._teacher_renderers["teacher"]
    assert len({tuple(renderer.render([USER])) for _ in range(5)}) == 1


UNUSABLE = {
    "rendered": ([{"prompt": RENDERED}], "prompt 0 was rendered with a chat template before"),
    "a foreign role": ([{"prompt": [{**USER, "role": "human"}]}], "prompt 0 has a message of the role 'human'"),
    "no prompt": ([{"question": "a"}], r"the evaluation data( 'two')? has no 'prompt' column, only question"),
    "None": ([{"prompt": "a"}, {"prompt": None}], "prompt 1 is None"),
    "too long": ([{"prompt": "a"}, {"prompt": "word " * 5000}], "prompt 1 has .* exceeds the student's context"),
    "none": ([], "the evaluation data is empty"),
}


@pytest.fixture(scope="module")
def trainer(pair, tmp_path_factory):
    return make_trainer(pair, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("kind", UNUSABLE)
def test_data_given_to_evaluate_is_checked_as_the_run_s_own(trainer, monkeypatch, kind):
    monkeypatch.setattr(trainer, "sample", lambda rows: pytest.fail("it was sampled from"))
    rows, message = UNUSABLE[kind]
    for given in (rows, {"one": [{"prompt": "a"}], "two": rows}):
        with pytest.raises(InputError, match=message):
            trainer.evaluate(given)


@pytest.mark.parametrize("kind", ["rendered", "a foreign role", "None", "too long"])
def test_prompts_to_score_are_checked_likewise(trainer, monkeypatch, kind):
    monkeypatch.setattr(trainer, "sample", lambda rows: pytest.fail("it was sampled from"))
    rows, message = UNUSABLE[kind]
    with pytest.raises(InputError, match=message):
        trainer.score_prompts([row["prompt"] for row in rows])


def test_ids_of_the_settings_are_compared_with_the_student(pair, output, no_weights):
    with pytest.raises(InputError, match=r"bad_words_ids = \[\[9999\]\] is not possible"):
        make_trainer(pair, output, generation_kwargs={"bad_words_ids": [[9999]]})
