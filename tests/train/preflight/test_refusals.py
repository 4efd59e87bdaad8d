"""What cannot work is refused before a model is loaded; of prompts, the message names the row."""

from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer

from crossdistill import InputError
from crossdistill.chat import render_prompt
from crossdistill.chat.prompts import as_prompt
from crossdistill.teachers import LocalTeacher
from crossdistill.teachers.base import given_teacher
from crossdistill.train import CrossTokenizerTrainer
from crossdistill.train.preflight import data
from crossdistill.train.preflight.data import check_prompts, prompts_to_render
from crossdistill.train.preflight.models import hub_options
from tests.models import MESSAGES
from tests.train.harness import arguments, load, make_trainer

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    "prompt",
    ["a text", [USER], [USER, {"role": "assistant", "content": None}], [{"role": "user", "content": [{"text": "Hi"}]}]],
)
def test_prompts_that_work(prompt):
    as_prompt(prompt)


@pytest.mark.parametrize(
    "prompt",
    [7, None, [], ["Hi"], [{"content": "Hi"}], [{"role": 1, "content": "Hi"}], [{"role": "user", "content": 3}]],
)
def test_prompts_that_do_not(prompt):
    with pytest.raises(InputError, match=r"prompt 4 is .*: a prompt must be a text or a list of messages, each with"):
        as_prompt(prompt, "prompt 4")


def test_a_column_of_numbers_is_refused(pair, output, no_weights):
    with pytest.raises(InputError, match=r"prompt 0 is 1: a prompt must be a text"):
        make_trainer(pair, output, prompts=[1, 2, 3, 4])


def test_the_shape_of_every_prompt_is_checked():
    """A column cannot mix messages and texts, so a broken prompt is a list without messages."""
    prompts = [[USER]] * 3000 + [[]]
    with pytest.raises(InputError, match=r"prompt 3000 is \[\]: a prompt must be"):
        check_prompts(Dataset.from_dict({"prompt": prompts}), "the training data")


def test_which_prompts_are_rendered_before_a_run(monkeypatch):
    """The first ones, the longest ones and one of each sequence of roles."""
    monkeypatch.setattr(data, "_NUM_FIRST", 2)
    monkeypatch.setattr(data, "_NUM_LONGEST", 2)
    system, answer = {"role": "system", "content": "x"}, {"role": "assistant", "content": "x"}
    texts = [[USER]] * 4 + [[{"role": "user", "content": "long" * 9}], [system, USER], [USER], [USER, answer, USER]]
    rows = prompts_to_render(Dataset.from_dict({"prompt": [*texts, [system, USER], [USER]]}))
    assert [row for row, _ in rows] == [0, 1, 4, 5, 7]  # the second longest is that with an answer
    assert rows[2][1] == texts[4]
    assert prompts_to_render(Dataset.from_dict({"prompt": ["a", "bcd", "e", "bc"]})) == [
        (0, "a"),
        (1, "bcd"),
        (3, "bc"),
    ]
    stream = Dataset.from_dict({"prompt": ["a"]}).to_iterable_dataset()
    assert prompts_to_render(stream) == []


def test_a_late_prompt_with_other_roles_is_rendered_too(pair, output, no_weights):
    refuses = "{% for m in messages if m.role == 'assistant' %}{{ raise_exception('no answers') }}{% endfor %}"
    tokenizer = AutoTokenizer.from_pretrained(pair.teacher)
    tokenizer.chat_template = refuses + tokenizer.chat_template
    talk = [USER, {"role": "assistant", "content": "Ho"}, USER]
    with pytest.raises(InputError, match=r"refuses a conversation of user, assistant, user \(no answers\)"):
        make_trainer(
            pair, output, prompts=[[USER]] * 1500 + [talk], trainer_options={"teacher_processing_class": tokenizer}
        )


@pytest.mark.parametrize("column", ["tools", "chat_template_kwargs"])
def test_a_column_that_is_not_read_is_warned_of(column, caplog):
    check_prompts(Dataset.from_dict({"prompt": ["a"], column: ["?"]}), "the training data")
    (record,) = caplog.records
    assert record.message.startswith(f"the column '{column}' of the training data is not read")


def test_where_tokenizers_and_configurations_are_read_from(output):
    nothing = {"revision": None, "trust_remote_code": False}
    assert hub_options(arguments(output), "student") == hub_options(arguments(output), "teacher") == nothing
    args = arguments(
        output,
        trust_remote_code=True,
        model_init_kwargs={"revision": "a"},
        teacher_model_revision="b",
        teacher_model_init_kwargs={"trust_remote_code": False},
    )
    assert hub_options(args, "student") == {"revision": "a", "trust_remote_code": True}
    assert hub_options(args, "teacher") == {"revision": "b", "trust_remote_code": False}


def test_revision_and_trust_reach_tokenizer_and_configuration(pair, output, no_weights, monkeypatch):
    asked = []

    def ask(kind):
        original = kind.from_pretrained

        def asking(name, **options):
            asked.append((kind.__name__, name, options.get("revision"), options.get("trust_remote_code")))
            return original(name, **{**options, "trust_remote_code": False, "revision": None})

        monkeypatch.setattr(kind, "from_pretrained", asking)

    ask(AutoConfig)
    ask(AutoTokenizer)
    with pytest.raises(AssertionError, match="a model was loaded"):
        make_trainer(
            pair,
            output,
            trust_remote_code=True,
            model_init_kwargs={"revision": "ours"},
            teacher_model_revision="theirs",
        )
    for kind in ("AutoConfig", "AutoTokenizer"):
        assert (kind, pair.student, "ours", True) in asked
        assert (kind, pair.teacher, "theirs", True) in asked


def test_held_out_prompts_are_checked_too(pair, output, no_weights):
    held_out = [[{"role": "user", "content": "long " * 400}]]
    with pytest.raises(InputError, match=r"prompt 0 has \d+ tokens, which .* exceeds the student's context of 128"):
        make_trainer(pair, output, trainer_options={"eval_dataset": Dataset.from_dict({"prompt": held_out})})


def test_a_template_that_refuses_the_conversation_is_named(pair, output, no_weights):
    tokenizer = AutoTokenizer.from_pretrained(pair.teacher)
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(InputError, match=r"chat template of .* refuses a conversation of user \(no system role\)"):
        make_trainer(pair, output, trainer_options={"teacher_processing_class": tokenizer})


def test_both_sides_are_rendered_by_the_same_rules(pair, output):
    """A tokenizer that appends its end token to a text must not end the student's prompt with it."""
    tokenizer = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    tokenizer.backend_tokenizer.post_processor = _appending(tokenizer)
    assert tokenizer("one plus two")["input_ids"][-1] == tokenizer.eos_token_id
    trainer = CrossTokenizerTrainer(
        pair.student,
        pair.teacher,
        arguments(output),
        train_dataset=Dataset.from_dict({"prompt": ["one plus two"] * 4}),
        processing_class=tokenizer,
    )
    rendered, _, _ = trainer._tokenize_prompts(["one plus two", MESSAGES[0]])
    assert tokenizer.decode(rendered[0]) == "one plus two"
    assert rendered[1] == render_prompt(tokenizer, MESSAGES[0])


def test_an_adapter_is_not_a_model(pair, output, no_weights, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is an adapter, not a model: merge it into its base first"):
        make_trainer(pair, output, student=str(tmp_path))


def test_paths_name_models_too(pair, output):
    trainer = make_trainer(pair, output, student=Path(pair.student), teacher=Path(pair.teacher))
    assert len(trainer.score_prompts(MESSAGES[:1])) == 1


@pytest.fixture(scope="module")
def local(pair):
    """Makes the teacher of the pair as an object, of a temperature of its own."""
    model, tokenizer = load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher)
    return lambda temperature: LocalTeacher(model, tokenizer, temperature=temperature)


@pytest.mark.parametrize(
    ("objective", "own", "needed"), [("dpca", 1.0, "the sampling temperature 0.7"), ("alm", 0.7, "temperature 1")]
)
def test_a_given_teacher_must_have_the_temperature_of_the_objective(
    pair, output, no_weights, local, objective, own, needed
):
    message = rf"'{objective}' compares both models at {needed}, and this teacher .* {own:g}: call its set_temperature"
    with pytest.raises(InputError, match=message):
        make_trainer(pair, output, teacher=local(own), objective=objective, temperature=0.7)


def test_a_given_teacher_keeps_its_temperature(pair, output, local):
    teacher = local(0.7)
    assert make_trainer(pair, output, teacher=teacher, temperature=0.7).teacher is teacher
    assert teacher.temperature == 0.7


def test_ways_to_give_a_teacher(pair, local):
    teacher = local(1.0)
    assert given_teacher(teacher) is teacher
    assert given_teacher(teacher.model) is None
    assert given_teacher(pair.teacher) is None


@pytest.mark.parametrize("several", [False, True])
def test_what_is_not_a_teacher_is_refused_first(pair, output, no_weights, several):
    teacher = {"first": pair.teacher, "second": 7} if several else 7
    with pytest.raises(InputError, match="is an object of type int, which is not a teacher"):
        make_trainer(pair, output, teacher=teacher, prompts=[])


@pytest.mark.slow
def test_the_last_checkpoint_is_resumed_from(pair, output):
    options = {"save_strategy": "steps", "save_steps": 1}
    make_trainer(pair, output, max_steps=1, **options).train()
    trainer = make_trainer(pair, output, max_steps=2, **options)
    trainer.train(resume_from_checkpoint=True)
    assert [step["step"] for step in trainer.steps] == [1, 2]
    assert len(trainer.rollouts) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_completion_length": 0}, "max_completion_length must be at least 1, not 0"),
        ({"teacher_batch_tokens": 0}, "teacher_batch_tokens must be at least 1, not 0"),
        ({"teacher_states": "nowhere"}, "teacher_states is one of disk, memory, not 'nowhere'"),
        ({"min_padding_saved": -1}, "min_padding_saved must be a number and at least 0, not -1"),
        ({"min_padding_saved": "10"}, "min_padding_saved must be a number and at least 0, not '10'"),
        ({"min_padding_saved": [1]}, r"min_padding_saved must be a number and at least 0, not \[1\]"),
        ({"min_padding_saved": float("nan")}, "min_padding_saved must be a number and at least 0, not nan"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"max_completion_length": None}, "max_completion_length must be at least 1, not None"),
        ({"report_to": "no-such-logger"}, "report_to names .no-such-logger., which is no logger"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0 and finite, not nan"),
        (
            {"objective_options": {"clip_low": "abc"}},
            "'clip_low' of objective 'dpca' must be a number, not 'abc'",
        ),
        ({"objective_options": {"credit": 3}}, "option 'credit' of objective 'dpca' must be a text, not 3"),
        ({"objective_options": {"name": "x"}}, "objective 'dpca' has no option 'name'"),
    ],
)
def test_values_that_have_no_meaning(output, options, message):
    with pytest.raises(InputError, match=message):
        arguments(output, **options)


def _appending(tokenizer):
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", tokenizer.eos_token_id)])
