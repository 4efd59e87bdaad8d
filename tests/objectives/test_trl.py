"""Our gold, uld and gkd against TRL's own losses, in the cases in which they should agree."""

import math

import pytest
import torch

from crossdistill.objectives.gkd import GKD
from crossdistill.objectives.gold import GOLD
from crossdistill.objectives.shared import divergence
from crossdistill.objectives.uld import ULD
from tests.objectives.trl_side import PROMPT, Response, gkd_loss

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
TEXTS = ["The quick brown fox", "12 + 30 = 42, then the sum", "naïve café, 你好 🤗!"]
TOGETHER = {"uld_skip_student_eos": False, "uld_skip_teacher_eos": False}  # with the end of the response
FORMS = {
    "plain": ({"hybrid": False}, {}),
    "hybrid": ({}, {"uld_use_hybrid_loss": True}),
    "weights": (
        {"weighting": "given", "matched_weight": 0.7, "unmatched_weight": 0.2, "beta": 0.2},
        {
            "uld_use_hybrid_loss": True,
            "uld_hybrid_matched_weight": 0.7,
            "uld_hybrid_unmatched_weight": 0.2,
            "beta": 0.2,
        },
    ),
    "temperature": (
        {"temperature": 1.4},
        {"uld_use_hybrid_loss": True, "uld_student_temperature": 1.4, "uld_teacher_temperature": 1.4},
    ),
}


@pytest.fixture
def floor_of_trl(monkeypatch):
    """A matched entry counts as 1e-8 at least there, and as e^-100 here (test_trl_differs.py)."""
    monkeypatch.setattr(divergence, "FLOOR_NATS", math.log(1e-8))


def assert_same(response: Response, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.abs() > 1e-4
    torch.testing.assert_close(ours, theirs.squeeze(), **CLOSE)
    slopes = [torch.autograd.grad(loss, response.states[0], retain_graph=True)[0] for loss in (ours, theirs.squeeze())]
    torch.testing.assert_close(*slopes, **CLOSE)


@pytest.mark.usefixtures("floor_of_trl")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stop", [True, False])
def test_gold_is_that_of_trl_where_it_follows_the_chain_rule(form, text, stop):
    options, their_options = FORMS[form]
    response = Response.random(text)
    theirs = response.theirs(uld_token_merge_strategy="bayesian", **(TOGETHER if stop else {}), **their_options)
    assert_same(response, response.ours(GOLD(merge="bayesian", **options), stop), theirs)


@pytest.mark.usefixtures("floor_of_trl")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", TEXTS)
def test_gold_is_that_of_trl_where_each_row_predicts_its_own_token(form, text):
    """TRL's default merging takes the row after a token for the row that predicts it; here it gets the latter."""
    options, their_options = FORMS[form]
    response = Response.random(text, seed=1)
    theirs = response.theirs(shifted=True, uld_token_merge_strategy="observed", **TOGETHER, **their_options)
    assert_same(response, response.ours(GOLD(merge="observed", **options)), theirs)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_gold_is_that_of_trl_with_one_vocabulary(beta):
    """Then every entry is matched and nothing is merged, so that the ends of beta are divergences there too."""
    response = Response.random(TEXTS[0], same=True)
    theirs = response.theirs(uld_token_merge_strategy="bayesian", uld_use_hybrid_loss=True, beta=beta, **TOGETHER)
    assert_same(response, response.ours(GOLD(beta=beta)), theirs)


def test_uld_is_the_plain_form_of_trl_where_chunks_are_tokens():
    response = Response.random("Q7 z! 93", seed=2)
    num_teacher = len(response.teacher(response.text)["input_ids"])
    assert len(response.ids) == num_teacher
    theirs = response.theirs(uld_token_merge_strategy="bayesian", **TOGETHER)
    assert_same(response, response.ours(ULD()), theirs)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gkd_is_that_of_trl(beta, temperature):
    response = Response.random(TEXTS[1], same=True)
    logits = [head.logits(states)[None, :-1] for head, states in zip(response.heads, response.states, strict=True)]
    prompt = len(response.student(PROMPT)["input_ids"])
    labels = torch.zeros(1, len(response.states[0]), dtype=torch.long)
    labels[:, :prompt] = -100
    theirs = gkd_loss(*logits, labels[:, 1:], beta=beta, temperature=temperature)
    assert_same(response, response.ours(GKD(beta=beta, temperature=temperature)), theirs)
