"""A served teacher together with its server, for tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossdistill.teachers import TeacherRequest, TeacherScore
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from tests.teacher_server.cases import KINDS, local_of, scorer_of, tokenizer_of
from tests.teacher_server.log import Seen
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.scripts import nothing
from tests.teacher_server.server import TeacherServer

TOKENS = "byte_level"
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
QUICK = ServedOptions(timeout_s=2.0, patience_s=8.0, max_body_mib=1.0)
HASTY = ServedOptions(timeout_s=0.4, patience_s=1.0, max_body_mib=1.0)


@contextmanager
def serving(
    options: ServedOptions = QUICK, kind: str = "vllm", **settings: Any
) -> Iterator[tuple[ServedTeacher, TeacherServer]]:
    """A server that has passed the probe; from then on it follows the test's script."""
    scorer = Scorer(scorer_of(TOKENS).model, tokenizer_of(TOKENS))
    with TeacherServer(scorer, replace(KINDS[kind], **settings)) as server:
        teacher = ServedTeacher(server.url, tokenizer_of(TOKENS), options)
        server.log.clear()
        try:
            yield teacher, server
        finally:
            teacher.close()


class Shared:
    """One teacher and server for each kind and options, because a probe takes longer than a test."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def __call__(self, options: ServedOptions = QUICK, kind: str = "vllm") -> tuple[ServedTeacher, TeacherServer]:
        key = (options, kind)
        if key not in self._made:
            context = serving(options, kind)
            self._made[key] = (context, context.__enter__())
        teacher, server = self._made[key][1]
        server.script = nothing
        server.log.clear()
        for name in teacher.traffic.as_dict():
            setattr(teacher.traffic, name, 0)
        return teacher, server

    def close(self) -> None:
        for context, _ in self._made.values():
            context.__exit__(None, None, None)


def of_samples(server: TeacherServer, teacher: ServedTeacher) -> list[Seen]:
    """Requests for scores, without those for the fingerprint."""
    return [seen for seen in server.log.scored() if seen.ids != teacher.capabilities.fingerprint_ids]


def whole(request: TeacherRequest) -> list[int]:
    return [*request.prompt_ids, *request.response_ids]


def assert_scored(answers: Sequence[Any], asked: Sequence[TeacherRequest]) -> None:
    """The scores are those of the local teacher."""
    for one, other in zip(answers, local_of(TOKENS).score(asked), strict=True):
        assert isinstance(one, TeacherScore), one
        np.testing.assert_allclose(one.logprobs, other.logprobs, **CLOSE)
        assert (one.stop_logprob is None) == (other.stop_logprob is None)
        if other.stop_logprob is not None:
            assert one.stop_logprob == pytest.approx(other.stop_logprob, rel=1e-4, abs=1e-4)
