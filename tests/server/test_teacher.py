"""A real vLLM server as a teacher: its scores are those of transformers, and a student learns the same from it."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from crossdistill.chat import render_prompt
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from tests.models import Pair
from tests.server.conftest import MODEL, ROOT
from tests.train.harness import load, make_trainer

pytestmark = pytest.mark.server

NATS = 1e-3
"""Tolerance of a log-probability: both compute in float32, in different orders."""
ANSWERS = ("Melanie started with 18 vacuum cleaners.", "naïve café: 你好 🤗\n\n  x = 12 + 30", "", "12")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def local(tokenizer: Any) -> LocalTeacher:
    return LocalTeacher(load(str(MODEL)), tokenizer)


def requests(teacher: LocalTeacher) -> list[TeacherRequest]:
    """Answers, right or wrong, to questions of GSM8K; every second one ends."""
    lines = (ROOT / "models" / "gsm8k-heldout.jsonl").read_text(encoding="utf-8").splitlines()[: 2 * len(ANSWERS)]
    found = []
    for row, line in enumerate(lines):
        ids = teacher.vocab.encode(ANSWERS[row // 2]).ids.tolist()
        found.append(TeacherRequest(render_prompt(teacher.tokenizer, json.loads(line)["prompt"]), ids, row % 2 == 0))
    return found


def assert_close(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    for served, expected in zip(ours, theirs, strict=True):
        assert isinstance(served, TeacherScore)
        np.testing.assert_allclose(served.logprobs, expected.logprobs, atol=NATS)
        assert (served.stop_logprob is None) == (expected.stop_logprob is None)
        if served.stop_logprob is not None:
            assert served.stop_logprob == pytest.approx(expected.stop_logprob, abs=NATS)


@pytest.mark.parametrize("dialect", ["vllm", "completions"])
def test_scores_are_those_of_transformers(vllm, local, tokenizer, dialect):
    teacher = ServedTeacher(vllm, tokenizer, ServedOptions(dialect=dialect))
    asked = requests(local)
    assert_close(teacher.score(asked), local.score(asked))


def test_the_most_probable_tokens_are_those_of_transformers(vllm, local, tokenizer):
    teacher = ServedTeacher(vllm, tokenizer)
    assert (teacher.signal, teacher.max_top_k) == (Signal.TOPK, 64)
    asked = requests(local)
    ours, theirs = (one.score(asked, Signal.TOPK, 16) for one in (teacher, local))
    assert_close(ours, theirs)
    for served, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(served.topk.logprobs, expected.topk.logprobs, atol=NATS, rtol=0)
        different = served.topk.ids != expected.topk.ids  # equally probable neighbours may be swapped
        gaps = (served.topk.logprobs - expected.topk.logprobs)[different].abs()
        assert different.float().mean() < 0.05
        assert not len(gaps) or gaps.max() < NATS


def test_the_mass_of_several_stop_tokens_is_their_sum(vllm, local, tokenizer):
    more = [tokenizer.convert_tokens_to_ids("<|endoftext|>"), tokenizer.convert_tokens_to_ids("<|im_start|>")]
    teacher = ServedTeacher(vllm, tokenizer, declared_stops=more)
    assert len(teacher.stop_ids) == 3
    alone, local.stop_ids = local.stop_ids, teacher.stop_ids
    try:
        asked = requests(local)
        assert_close(teacher.score(asked), local.score(asked))
    finally:
        local.stop_ids = alone


@pytest.mark.parametrize(("objective", "options"), [("dpca", {}), ("strict", {"top_k": 16})])
def test_a_student_learns_from_it_as_from_the_model_in_process(
    pair: Pair, output, vllm, local, tokenizer, objective, options
):
    """Greedy rollouts, so that the two runs sample the same as long as they learn the same."""
    curves = []
    for name, teacher in (("served", ServedTeacher(vllm, tokenizer)), ("local", local)):
        settings = {"top_k": 1, "max_steps": 6, "learning_rate": 1e-3, "low_coverage": "ignore"}
        trainer = make_trainer(
            pair, output / name, teacher=teacher, objective=objective, objective_options=options, **settings
        )
        trainer.train()
        curves.append([(step["loss"], step["teacher_gap"]) for step in trainer.steps])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3, atol=1e-3)
    assert len({loss for loss, _ in curves[0]}) == 6
