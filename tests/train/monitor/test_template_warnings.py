"""What a user is told of a pair's templates: once, and only where it applies."""

import pytest

from crossdistill.chat import split_response
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.findings import FindingLog
from crossdistill.train.monitor.histories import HistoryCounts
from crossdistill.train.monitor.template_warnings import PairWarnings
from tests.chat import templates as t
from tests.models import MESSAGES, TEXTS
from tests.train.harness import make_trainer

SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two + two?"}]


def side(template, **kwargs):
    return PromptRenderer(t.with_template(template), kwargs, [])


@pytest.fixture
def told(caplog):
    return lambda: [record.message for record in caplog.records if record.name == "crossdistill"]


def test_nothing_is_told_of_templates_that_agree(told):
    warnings = PairWarnings(side(t.CHATML), side(t.CHATML))
    warnings.see_prompts(MESSAGES)
    warnings.see_prompts([SYSTEM])
    warnings.see_histories(HistoryCounts(4, 4, 0, 0))
    assert told() == []


def test_a_folded_system_message_is_told_once_and_for_the_side_that_folds(told):
    warnings = PairWarnings(side(t.CHATML), side(t.NO_SYSTEM))
    warnings.see_prompts(MESSAGES)
    assert told() == []
    warnings.see_prompts([*MESSAGES, SYSTEM])
    warnings.see_prompts([SYSTEM])
    assert told() == ["the teacher's chat template takes no system message: it is written into the first user message."]


def test_responses_that_begin_in_other_places(told):
    warnings = PairWarnings(side(t.REASONER), side(t.HYBRID))
    warnings.see_prompts(TEXTS)
    assert told() == []  # texts are continued as they stand
    warnings.see_prompts(MESSAGES)
    warnings.see_prompts(MESSAGES)
    (sentence,) = told()
    assert "set teacher_chat_template_kwargs or chat_template_kwargs" in sentence


def test_keyword_arguments_of_the_template_settle_it(told):
    closed = side(t.HYBRID, enable_thinking=False)
    PairWarnings(closed, closed).see_prompts(MESSAGES)
    assert told() == []
    PairWarnings(closed, side(t.HYBRID)).see_prompts(MESSAGES)
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (t.STRIPS, "Its habits: strips white space, leaves out reasoning_content."),
        (t.HYBRID, "Its habits: drops or rewrites reasoning (<think>), leaves out reasoning_content."),
    ],
)
def test_changed_histories(told, template, why):
    warnings = PairWarnings(side(template), side(t.CHATML))
    warnings.see_prompts(MESSAGES)
    warnings.see_histories(HistoryCounts(4, 4, 2, 0))
    warnings.see_histories(HistoryCounts(4, 4, 1, 0))
    (sentence,) = told()
    assert sentence.startswith(
        "the student's chat template does not show earlier answers of the assistant as they were"
    )
    assert "history_changed/student" in sentence
    assert sentence.endswith(why)


def test_control_tokens_within_a_response(told, vocabs):
    warnings = PairWarnings(side(t.CHATML), side(t.CHATML))
    vocab, tokenizer = vocabs["qwen"], t.with_template(t.CHATML)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    warnings.see_responses([split_response([*vocab.encode("fox").ids, end], vocab, {end})])
    assert told() == []
    warnings.see_responses([split_response([start, *vocab.encode("fox").ids, start, end], vocab, {end})] * 2)
    (sentence,) = told()
    assert "its control token '<|im_start|>' within a response" in sentence
    assert "text_tokens" in sentence


def test_of_several_processes_one_speaks(told):
    PairWarnings(side(t.REASONER), side(t.CHATML), FindingLog(is_emitter=False)).see_prompts(MESSAGES)
    assert told() == []


def test_a_run_tells_before_it_samples(pair, output, told):
    from transformers import AutoTokenizer

    teacher = AutoTokenizer.from_pretrained(pair.teacher)
    teacher.chat_template += "{% if add_generation_prompt %}{{ '<think>' }}{% endif %}"
    refused = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    teacher.chat_template = refused + teacher.chat_template
    trainer = make_trainer(
        pair, output, prompts=[SYSTEM] * 4, trainer_options={"teacher_processing_class": teacher}, max_steps=1
    )
    first, second = told()
    assert "the teacher's chat template takes no system message" in first
    assert "inside a block of reasoning for the teacher ('<think>')" in second
    request_of = trainer.teacher.tokenizer.decode(trainer._teacher_renderers["teacher"].render(SYSTEM))
    assert request_of == "<bos><turn>user\nBe brief.\n\ntwo + two?<stop>\n<turn>assistant\n<think>"


def test_earlier_answers_in_the_data_are_counted(pair, output, told):
    from transformers import AutoTokenizer

    teacher = AutoTokenizer.from_pretrained(pair.teacher)
    teacher.chat_template = teacher.chat_template.replace("message['content']", "message['content'] | trim")
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": " 4"}, {"role": "user", "content": "?"}]
    trainer = make_trainer(
        pair,
        output,
        prompts=[talk, MESSAGES[0], MESSAGES[1], MESSAGES[2]],
        trainer_options={"teacher_processing_class": teacher},
        max_steps=1,
    )
    assert told() == []
    trainer.train()
    (step,) = trainer.steps
    assert (step["history_changed/student"], step["history_changed/teacher"]) == (0, 1)
    (sentence,) = [sentence for sentence in told() if "control token" not in sentence]
    assert sentence.endswith("Its habits: strips white space, leaves out reasoning_content.")
