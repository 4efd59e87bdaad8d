"""A served teacher against the same weights in this process, over HTTP."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from transformers import TrainerCallback

from crossdistill.errors import InputError, TeacherUnavailableError
from crossdistill.signal import Signal
from crossdistill.teachers import TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from tests.models import teacher_model, teacher_tokenizer
from tests.teacher_server import Scorer, Settings, TeacherServer
from tests.teacher_server.cases import KINDS, local_of, samples, scorer_of, tokenizer_of
from tests.teacher_server.serving import HASTY
from tests.train.harness import fast_for, make_trainer

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
STUDENTS_CHOICE = {"top_k": 8, "chosen_by": "student", "tail": True, "teacher_top_k": 12}


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    """The scores equal `theirs`, those of the local teacher."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, TeacherScore)
        assert one.logprobs.dtype == np.float32
        np.testing.assert_allclose(one.logprobs, other.logprobs, **CLOSE)
        assert (one.stop_logprob is None) == (other.stop_logprob is None)
        if other.stop_logprob is not None:
            assert one.stop_logprob == pytest.approx(other.stop_logprob, rel=1e-4, abs=1e-4)
        assert (one.topk is None) == (other.topk is None)
        if other.topk is not None:
            np.testing.assert_allclose(one.topk.logprobs, other.topk.logprobs, **CLOSE)
            assert one.topk.ids.tolist() == other.topk.ids.tolist()


def settings_of(kind: str) -> Settings:
    return replace(KINDS[kind])


@pytest.mark.parametrize("tokens", fast_for(["sentencepiece", "byte_level", "two_stops"], ["two_stops"]))
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_scores_are_the_local_teachers(kind, tokens):
    local, asked = local_of(tokens), samples(tokens)
    assert len(local.stop_ids) == (2 if tokens == "two_stops" else 1)
    with TeacherServer(scorer_of(tokens), settings_of(kind)) as server:
        teacher = ServedTeacher(server.url, tokenizer_of(tokens))
        assert teacher.stop_ids == local.stop_ids
        assert_same(teacher.score(asked), local.score(asked))
        teacher.close()


@pytest.mark.parametrize("k", fast_for([1, 5], [5]))
@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("vllm", "sentencepiece"),
        ("vllm", "two_stops"),
        ("vllm", "byte_level"),
        ("plain", "byte_level"),
        ("plain, lenient", "byte_level"),
        ("plain, one token more", "byte_level"),
        ("plain, text alone", "byte_level"),
    ],
)
def test_the_top_k_are_the_local_teachers(kind, tokens, k):
    local, asked = local_of(tokens), samples(tokens)
    with TeacherServer(scorer_of(tokens), settings_of(kind)) as server:
        teacher = ServedTeacher(server.url, tokenizer_of(tokens))
        assert teacher.signal is Signal.TOPK
        assert teacher.max_top_k == server.service.settings.max_logprobs
        assert_same(teacher.score(asked, Signal.TOPK, k), local.score(asked, Signal.TOPK, k))
        teacher.close()


def test_names_that_several_tokens_share_leave_only_the_sampled_signal():
    """Plain lists name "A" and the byte 0x41 alike, so that the top k cannot be identified."""
    with TeacherServer(scorer_of(), settings_of("plain")) as server:
        teacher = ServedTeacher(server.url, tokenizer_of("sentencepiece"))
        assert teacher.signal is Signal.SAMPLED
        teacher.close()


def test_a_vllm_server_asked_in_the_plain_form():
    local, asked = local_of(), samples()
    with TeacherServer(scorer_of()) as server:
        teacher = ServedTeacher(server.url, tokenizer_of("sentencepiece"), ServedOptions(dialect="completions"))
        assert_same(teacher.score(asked), local.score(asked))
        assert all(seen.body.get("prompt_logprobs") is None for seen in server.log.completions())
        teacher.close()


@pytest.mark.parametrize("suffix", fast_for(["", "/", "/v1", "/v1/"], ["/v1"]))
def test_the_address_with_and_without_its_version(suffix):
    with TeacherServer(scorer_of()) as server:
        teacher = ServedTeacher(server.url + suffix, tokenizer_of("sentencepiece"))
        assert_same(teacher.score(samples()[:2]), local_of().score(samples()[:2]))
        teacher.close()


def test_nothing_to_score():
    with TeacherServer(scorer_of()) as server:
        teacher = ServedTeacher(server.url, tokenizer_of("sentencepiece"))
        server.log.clear()
        assert teacher.score([]) == []
        assert server.log.completions() == []
        teacher.close()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "dpca"},
        pytest.param({"objective": "cdm", "objective_options": {"top_k": 12}}, marks=pytest.mark.slow),
        pytest.param({"objective": "strict", "objective_options": {"top_k": 8}}, marks=pytest.mark.slow),
        pytest.param({"objective": "strict", "objective_options": STUDENTS_CHOICE}, marks=pytest.mark.slow),
    ],
    ids=lambda options: options["objective"],
)
def test_a_run_has_the_losses_of_the_teacher_in_its_process(pair, output, options):
    def steps(teacher: Any, name: str) -> list[dict[str, float]]:
        trainer = make_trainer(pair, output / name, teacher=teacher, max_steps=3, **options)
        trainer.train()
        return trainer.steps

    local = steps(None, "local")
    tokenizer = teacher_tokenizer()
    with TeacherServer(Scorer(teacher_model(tokenizer), tokenizer)) as server:
        teacher = ServedTeacher(server.url, tokenizer)
        served = steps(teacher, "served")
        teacher.close()
        assert len(server.log.scored()) > 3 * 4
    assert len(served) == len(local) == 3
    for one, other in zip(served, local, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3, abs=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-2)
        for key in ("teacher_gap", "supervised_bytes", "coverage"):
            if key in other:
                assert one[key] == pytest.approx(other[key], rel=1e-3, abs=1e-4), key
    assert local[0]["grad_norm"] > 0


class _After(TrainerCallback):
    """Does something once, at the end of a step."""

    def __init__(self, step: int, then: Callable[[], None]):
        self._step, self._then = step, then

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            self._then()


@pytest.mark.slow
def test_a_run_whose_teacher_goes_stops_with_a_checkpoint_and_resumes(pair, output):
    """The batches are those of an undisturbed run; the responses of the failed step are sampled again."""
    tokenizer = tokenizer_of("sentencepiece")
    with TeacherServer(scorer_of()) as server:
        teacher = ServedTeacher(server.url, tokenizer, HASTY)
        whole = make_trainer(pair, output / "whole", teacher=teacher, max_steps=4)
        whole.train()
        broken = make_trainer(pair, output / "broken", teacher=teacher, max_steps=4)
        broken.add_callback(_After(2, server.stop))
        with pytest.raises(TeacherUnavailableError, match="resume the run"):
            broken.train()
        assert [path.name for path in (output / "broken").glob("checkpoint-*")] == ["checkpoint-2"]
        server.start()
        resumed = make_trainer(pair, output / "broken", teacher=teacher, max_steps=4)
        resumed.train(resume_from_checkpoint=True)
        server.service.scorer = Scorer(teacher_model(tokenizer, seed=9), tokenizer)
        another = ServedTeacher(server.url, tokenizer, HASTY)
        with pytest.raises(InputError, match=r"'teacher' is another model .* up to checkpoint-2: .* differ by"):
            make_trainer(pair, output / "broken", teacher=another, max_steps=4).train(
                resume_from_checkpoint=str(output / "broken" / "checkpoint-2")
            )
        teacher.close()
        another.close()
    assert [step["step"] for step in resumed.steps] == [1, 2, 3, 4]
    for one, other in zip(resumed.steps[:2], whole.steps[:2], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3, abs=1e-4)
    assert resumed.prompt_ids == whole.prompt_ids[2:]  # no batch is left out or repeated
    assert all(step["grad_norm"] > 0 for step in resumed.steps)
    # what was sampled and never scored is not counted
    sampled = sum(len(item.response.ids) for run in (broken, resumed) for batch in run.rollouts for item in batch)
    assert resumed.total_usage().coverage.sampled.tokens == sampled
