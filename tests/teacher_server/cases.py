"""Shared by the tests of a served teacher: tiny teachers, kinds of servers, and samples to score."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from crossdistill.chat import render_prompt
from crossdistill.teachers import LocalTeacher, TeacherRequest
from tests.models import TEXTS, student_tokenizer, teacher_model, teacher_tokenizer
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.service import Settings

ANSWERS = (
    "The answer is 42.",
    " naïve café",
    "",
    "你好，世界。 🤗",
    "def f(x):  return x\n\n  # two  spaces",
    "The answer is 42.",
    "Привет 👩‍🚀",
    "1234567",
)


@cache
def tokenizer_of(kind: str) -> Any:
    """sentencepiece: characters and byte pieces. byte_level: every piece is bytes. two_stops: two end tokens."""
    if kind == "byte_level":
        return student_tokenizer()
    tokenizer = teacher_tokenizer()
    if kind == "two_stops":
        tokenizer.eos_token = "<pad>"
    return tokenizer


@cache
def scorer_of(kind: str = "sentencepiece", seed: int = 1) -> Scorer:
    return Scorer(teacher_model(tokenizer_of(kind), seed), tokenizer_of(kind))


@cache
def local_of(kind: str = "sentencepiece", seed: int = 1) -> LocalTeacher:
    """A local teacher with the same weights."""
    return LocalTeacher(teacher_model(tokenizer_of(kind), seed), tokenizer_of(kind))


def samples(kind: str = "sentencepiece", answers: Sequence[str] = ANSWERS) -> list[TeacherRequest]:
    """One for each text, every third of them not stopped; two are the same."""
    tokenizer = tokenizer_of(kind)
    prompts = [render_prompt(tokenizer, [{"role": "user", "content": text}]) for text in TEXTS]
    made = [
        TeacherRequest(prompt, tokenizer.encode(answer, add_special_tokens=False), stopped=j % 3 != 1)
        for j, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    return [*made, made[0]]


KINDS = {
    "vllm": Settings(),
    "plain": Settings(vllm=False, byte_names=True, max_logprobs=5),
    "plain, replacement characters": Settings(vllm=False, max_logprobs=5),
    "plain, lenient": Settings(vllm=False, byte_names=True, refuses_unknown=False),
    "plain, one token more": Settings(vllm=False, byte_names=True, min_max_tokens=1),
    "plain, text alone": Settings(vllm=False, byte_names=True, takes_ids=False),
}
