"""Files that a sampled response crosses in a step: with one local teacher and no tools the plain path is short."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import crossdistill
from crossdistill.chat import Response
from crossdistill.distill import Rollout, ScoredBatch, ScoredResponse, Turn
from crossdistill.distill.distiller import PendingBatch
from crossdistill.distill.response import AlignedResponse
from crossdistill.distill.scorer import PendingScores
from crossdistill.distill.student import StudentLogprobs
from crossdistill.objectives import AlignedBatch, LossInputs
from crossdistill.paired import PairedTokenization
from crossdistill.teachers import TeacherRequest, TeacherScore
from tests.models import Pair
from tests.train.harness import make_trainer

PACKAGE = Path(crossdistill.__file__).parent
DATUM = (
    *(Turn, Rollout, Response, PairedTokenization, AlignedResponse, TeacherRequest, TeacherScore, AlignedBatch),
    *(PendingScores, PendingBatch, StudentLogprobs, ScoredResponse, ScoredBatch, LossInputs),
)
CHECKS = ("train/monitor/", "train/verifying.py", "distill/policy_drift.py")  # are told, and hand nothing on
MOST_FILES = 15


def holds_datum(value: Any) -> bool:
    if isinstance(value, (list, tuple)) and not isinstance(value, DATUM):
        return any(map(holds_datum, value[:2]))
    return isinstance(value, DATUM)


class Tracer:
    """Files of the package whose functions are handed a datum, in the order of their first visit."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or PACKAGE not in path.parents:
            return
        file = str(path.relative_to(PACKAGE))
        if file not in self.files and any(map(holds_datum, frame.f_locals.values())):
            self.files.append(file)

    def during(self, function: Any) -> Any:
        def traced(*args: Any, **kwargs: Any) -> Any:
            sys.setprofile(self)
            try:
                return function(*args, **kwargs)
            finally:
                sys.setprofile(None)

        return traced


@pytest.fixture(scope="module")
def visited(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    trainer, tracer = make_trainer(pair, tmp_path_factory.mktemp("run"), max_steps=1), Tracer()
    trainer._generate_and_score_completions = tracer.during(trainer._generate_and_score_completions)
    trainer._compute_loss = tracer.during(trainer._compute_loss)
    trainer.train()
    return tracer.files


def test_the_plain_path_is_short(visited: list[str]) -> None:
    crossed = [file for file in visited if not file.startswith(CHECKS)]
    assert {"train/trainer.py", "distill/distiller.py", "teachers/local.py", "objectives/dpca.py"} <= set(crossed)
    assert len(crossed) <= MOST_FILES, crossed


def test_layers_for_other_cases_are_not_walked_through(visited: list[str]) -> None:
    others = {"distill/multi_teacher.py", "distill/background.py", "distill/routing.py", "train/off_policy.py"}
    assert not others & set(visited)
