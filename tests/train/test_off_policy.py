"""Batches that the student did not sample: what they hold, what is learned from them, what they cost."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset

from crossdistill import InputError
from crossdistill.costs import Part
from crossdistill.objectives import LossInputs, LossSum, Objective
from crossdistill.signal import Signal
from crossdistill.teachers.base import WrittenResponse
from crossdistill.teachers.writing import write_responses
from tests.models import MESSAGES
from tests.train.harness import BATCH, RecordingTrainer, arguments, load, sampled_logprobs

ANSWERS = ["It is 42.", "jumps over", "naïve déjà vu", "世界你好", "Ответ: сорок два", "🤗", ".", "return x * x"]


@dataclass(frozen=True)
class Likelihood(Objective):
    """-log p of every token: what holds on any text."""

    name: ClassVar[str] = "likelihood"

    @property
    def signal(self) -> Signal:
        return Signal.SAMPLED

    def loss(self, inputs: LossInputs) -> LossSum:
        return LossSum(-inputs.student_logprobs().sum(), {})


LIKELIHOOD = f"{__name__}:Likelihood"


def trainer_of(pair, output, *, given: bool = True, **options) -> RecordingTrainer:
    columns = {"prompt": list(MESSAGES), **({"completion": ANSWERS} if given else {})}
    settings = {"objective": LIKELIHOOD, "on_policy_share": 0.0, "max_completion_length": 24, **options}
    args = arguments(output, **settings)
    return RecordingTrainer(pair.student, pair.teacher, args, train_dataset=Dataset.from_dict(columns))


def ids_of(trainer: RecordingTrainer, batch: int) -> list[list[int]]:
    return [item.response.ids.tolist() for item in trainer.rollouts[batch]]


@pytest.mark.parametrize("remove_unused_columns", [False, True])
def test_given_responses_are_learned_with_their_end(pair, output, remove_unused_columns):
    trainer = trainer_of(pair, output, max_steps=1, remove_unused_columns=remove_unused_columns)
    trainer.train()
    by_prompt = {str(prompt): answer for prompt, answer in zip(MESSAGES, ANSWERS, strict=True)}
    stop, vocab = trainer.processing_class.eos_token_id, trainer.student_vocab
    model, nll = load(pair.student), []
    for item in trainer.rollouts[0]:
        answer = by_prompt[str(item.prompt)]
        assert item.response.ids.tolist() == [*vocab.encode(answer).ids.tolist(), stop]
        assert item.mask.all()
        prompt_ids = trainer.student_side.render(item.prompt)
        with torch.no_grad():
            nll += (-sampled_logprobs(model, prompt_ids, item.response.ids.tolist())).tolist()
    step = trainer.steps[0]
    assert step["loss"] == pytest.approx(np.mean(nll), rel=1e-3)
    assert step["on_policy"] == 0
    assert "teacher_gap" not in step  # what it says of samples would be said of another's text
    spent = trainer.usage.costs.tokens
    assert Part.STUDENT_ROLLOUT not in spent
    assert Part.TEACHER_ROLLOUT not in spent
    assert spent[Part.STUDENT_STEP] > 0


def test_a_response_longer_than_the_budget_is_cut_and_has_no_end(pair, output):
    trainer = trainer_of(pair, output, max_steps=2, max_completion_length=3)
    trainer.train()
    lengths = [len(ids) for batch in range(2) for ids in ids_of(trainer, batch)]
    assert max(lengths) == 3
    cut = [item for rollout in trainer.rollouts for item in rollout if len(item.response.ids) == 3]
    assert any(item.response.stop_position is None for item in cut)


def test_the_teacher_writes_in_its_own_words(pair, output):
    trainer = trainer_of(pair, output, given=False, off_policy="teacher", max_steps=2)
    trainer.train()
    for step, rollout in enumerate(trainer.rollouts):
        prompts = [item.prompt for item in rollout]
        teacher = trainer.teacher
        written = write_responses(
            teacher.model, teacher.tokenizer, prompts, 24, 1.0, seed=trainer.args.seed, first_row=step * BATCH
        )
        for item, response in zip(rollout, written, strict=True):
            ids = trainer.student_vocab.encode(response.text).ids.tolist()
            assert (
                item.response.ids.tolist() == [*ids, *[trainer.processing_class.eos_token_id] * response.stopped][:24]
            )
    assert trainer.usage.costs.tokens[Part.TEACHER_ROLLOUT] > 0


def test_batches_are_mixed_by_seed_and_step_alone(pair, output):
    trainer = trainer_of(pair, output, max_steps=8, on_policy_share=0.5)
    trainer.train()
    expected = [np.random.default_rng([trainer.args.seed, step]).random() < 0.5 for step in range(8)]
    assert [bool(step["on_policy"]) for step in trainer.steps] == expected
    assert len(set(expected)) == 2
    assert ["response_tokens" in step for step in trainer.steps] == expected


def test_evaluation_is_on_samples(pair, output):
    trainer = trainer_of(pair, output)
    trainer.eval_dataset = trainer.train_dataset
    assert trainer.evaluate()["eval_response_tokens"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dpca"}, "objective 'dpca' weighs what the student itself sampled"),
        ({"on_policy_share": 1.5}, r"on_policy_share is a share of the batches, from 0 to 1, not 1\.5"),
        ({"on_policy_share": float("nan")}, "on_policy_share is a share"),
        ({"off_policy": "web"}, "off_policy must be one of given, teacher, not 'web'"),
        ({"given": False}, "takes responses from the training data, which has no 'completion' column, only prompt"),
    ],
)
def test_what_cannot_work_is_refused(pair, output, options, message):
    with pytest.raises(InputError, match=message):
        trainer_of(pair, output, **options)


def test_a_completion_that_is_no_text_is_named(pair, output):
    rows = Dataset.from_dict({"prompt": list(MESSAGES), "completion": list(range(len(MESSAGES)))})
    args = arguments(output, objective=LIKELIHOOD, on_policy_share=0.5)
    with pytest.raises(InputError, match="the completion of row 0 is 0: it must be a text"):
        RecordingTrainer(pair.student, pair.teacher, args, train_dataset=rows)


# --- given and written texts


def dataset_of(completions: list) -> Dataset:
    return Dataset.from_dict({"prompt": list(MESSAGES), "completion": completions})


def off_policy_trainer(pair, output, dataset, **options) -> RecordingTrainer:
    args = arguments(output, objective=LIKELIHOOD, on_policy_share=0.0, max_completion_length=24, **options)
    return RecordingTrainer(pair.student, pair.teacher, args, train_dataset=dataset)


def test_the_students_own_end_is_taught_once(pair, output, caplog):
    trainer = off_policy_trainer(pair, output, dataset_of([f"{text}<|end|>\n" for text in ANSWERS]), max_steps=1)
    trainer.train()
    stop, vocab = trainer.processing_class.eos_token_id, trainer.student_vocab
    taught = {tuple(item.response.ids.tolist()) for item in trainer.rollouts[0]}
    assert taught <= {(*vocab.encode(text).ids.tolist(), stop) for text in ANSWERS}
    assert [finding.kind.name for finding in trainer.findings.findings] == ["own_end_cut"]
    assert caplog.text.count("8 of 8 completions end in <|end|>") == 1


@pytest.mark.parametrize(
    ("completions", "said"),
    [
        (["x", "", *["x"] * 6], r"1 of 8 completions are empty \(rows 1\)"),
        (["x<stop>"] * 8, "8 of 8 completions begin or end with <stop>"),
        ([[{"role": "user", "content": "x"}]] * 8, "the completion of row 0 is .*: it must be a text"),
    ],
)
def test_completions_that_teach_what_nobody_wants_are_refused_before_weights(
    pair, output, monkeypatch, completions, said
):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    with pytest.raises(InputError, match=said):
        off_policy_trainer(pair, output, dataset_of(completions))


@pytest.mark.parametrize(("completion", "kinds"), [("x<|end|>", ["own_end_cut"]), ("x", [])])
def test_completions_of_a_stream_are_read_as_they_come(pair, output, completion, kinds):
    stream = dataset_of([completion] * 8).to_iterable_dataset()
    trainer = off_policy_trainer(pair, output, stream, max_steps=2)
    trainer.train()
    assert [finding.kind.name for finding in trainer.findings.findings] == kinds
    stop, vocab = trainer.processing_class.eos_token_id, trainer.student_vocab
    assert trainer.rollouts[1][0].response.ids.tolist() == [*vocab.encode("x").ids.tolist(), stop]


@pytest.mark.parametrize("completion", ["", "x<|im_end|>", 7])
def test_a_stream_whose_completions_teach_what_nobody_wants_ends_the_run(pair, output, completion):
    stream = dataset_of([completion] * 8).to_iterable_dataset()
    with pytest.raises(InputError, match="completion"):
        off_policy_trainer(pair, output, stream, max_steps=2).train()


@pytest.mark.parametrize("texts", [["", "one", "two", " "], [""] * 4])
def test_nothing_is_learned_of_an_empty_response(pair, output, monkeypatch, caplog, texts):
    trainer = trainer_of(pair, output, given=False, off_policy="teacher", max_steps=1)
    written = [WrittenResponse(text, 2, stopped=True) for text in texts]
    monkeypatch.setattr(trainer.teacher, "write", lambda *_, **__: iter(written))
    trainer.train()
    lengths = [len(item.response.ids) for item in trainer.rollouts[0]]
    assert sorted(map(bool, lengths)) == sorted(bool(text.strip()) for text in texts)
    assert f"in answer to {sum(not text.strip() for text in texts)} of 4 prompts of step 0" in caplog.text


def test_the_teachers_template_arguments_hold_for_what_it_writes(pair, output, monkeypatch):
    trainer = trainer_of(
        pair, output, given=False, off_policy="teacher", teacher_chat_template_kwargs={"marker": "x"}, max_steps=1
    )
    asked = []
    monkeypatch.setattr(
        "crossdistill.teachers.writing.render_prompt",
        lambda tokenizer, prompt, kwargs: asked.append(kwargs) or [5, 6],
    )
    trainer.train()
    assert asked == [{"marker": "x"}] * BATCH


def test_a_student_that_has_overflowed_stops_the_run(pair, output):
    trainer = trainer_of(pair, output, on_policy_share=1.0, objective="dpca")
    sampled = trainer.old_logprobs

    def overflowed(*arguments):
        found = sampled(*arguments)
        found.tokens[1][0] = np.nan
        return found

    trainer.old_logprobs = overflowed
    with pytest.raises(InputError, match=r"the logits of \w+ are not finite"):
        trainer.train()
