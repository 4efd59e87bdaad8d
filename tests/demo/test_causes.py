"""The study of gradients and drift on the demo's pair (docs/causes.md), in small."""

import math

import numpy as np
import pytest
import torch

from benchmarks.causes.demo_pair import DemoPair, gradient, sample, scored
from benchmarks.causes.drift import KINDS, Reference, Training, kinds_of
from benchmarks.causes.hidden import favourites, hidden_entries
from crossdistill import Alignment
from crossdistill.demo.task import problems
from crossdistill.objectives import get


@pytest.fixture(scope="module")
def pair() -> DemoPair:
    return DemoPair.load()


def test_tokens_have_the_kind_of_their_chunk_and_place():
    alignment = Alignment([0, 1, 4, 5], [0, 1, 2, 4], [0, 2, 7, 9])
    named = [KINDS[kind] for kind in kinds_of(alignment, stopped=True)]
    assert named == ["one_to_one", "first", "later", "later", "first", "stop"]
    assert kinds_of(Alignment([0], [0], [0]), stopped=False).tolist() == []


def test_the_gradient_is_that_of_the_loss(pair):
    """By a finite difference along it."""
    torch.manual_seed(0)
    chosen = problems("train", 4, seed=1)
    student = pair.student()
    distiller = pair.distiller(get("alm", debias=False, tau=1.0), student)
    batch = scored(distiller, chosen, sample(distiller, chosen))
    found = gradient(distiller, batch)
    size, values = 3e-3, []
    for sign in (1, -1):
        moved, first = pair.student(), 0
        with torch.no_grad():
            for parameter in moved.parameters():
                part = found[first : first + parameter.numel()].view_as(parameter)
                parameter.add_(sign * size * part / found.norm())
                first += parameter.numel()
        other = pair.distiller(distiller.objective, moved)
        other.is_verified = True  # the policy has moved on purpose
        values.append(float(other.loss(batch, *other.student_states(batch)).detach()) / batch.num_items)
    assert (values[0] - values[1]) / (2 * size) == pytest.approx(float(found.norm()), rel=0.05)


def test_the_teacher_hides_what_it_means_where_chunks_are_not_1_to_1(pair):
    kinds = hidden_entries(pair, problems("train", 8, seed=1))
    assert kinds["one_to_one"]["teacher_shared"] > 0.9
    assert kinds["other"]["teacher_shared"] < 0.3
    assert kinds["other"]["lowered_though_meant"] > 0.5
    assert favourites(pair, problems("train", 8, seed=1))["raised"] > 0.9


def test_a_short_run_is_measured(pair):
    reference = Reference.of(pair, problems("test", 2, seed=1))
    training = Training(steps=1, batch_size=4, check_at=(1,))
    run = training.run(pair, get("shared_vocab"), problems("train", 4, seed=1), reference, seed=0)
    [check], [step] = run["checks"], run["steps"]
    assert check["step"] == 1
    assert set(check["surprisal"]) == set(KINDS)
    assert all(math.isfinite(value) for value in check["surprisal"].values())
    assert step["grad_norm"] > 0
    assert 0 <= check["off_shared"]["student"] < check["off_shared"]["teacher"] < 1
    assert np.isfinite(list(check["gap"].values())).all()
