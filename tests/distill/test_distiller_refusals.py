"""What the distiller refuses, in a sentence, before it could do harm in silence."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from crossdistill import InputError
from crossdistill.distill import Distiller, Routing
from crossdistill.objectives import LossInputs, LossSum, Objective, get
from crossdistill.ops import LMHead
from crossdistill.signal import Signal
from tests.distill.fake_teacher import FakeTeacher
from tests.distill.test_distiller import QUESTION, old, scored

TALK = [[{"role": "assistant", "content": "x"}]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": "a/folder"}, "the student is 'a/folder': give the model itself"),
        ({"temperature": 0.0}, "temperature must be above 0 and finite, not 0.0"),
        ({"temperature": -1.0}, "temperature must be above 0 and finite, not -1.0"),
        ({"routing": Routing(("m", "c"), rules={"m": ""})}, "the routing is for m, c, and the teachers are a, b"),
        ({"teacher_template_kwargs": {"c": {}}}, "teacher_template_kwargs are for c, who is not among the teachers"),
        (
            {"objective": "alm", "routing": Routing(("a", "b"), weights={"a": 1, "b": 1000})},
            "objective 'alm' .*learns from one teacher a response",
        ),
    ],
)
def test_arguments(tokenizer, teachers, options, message):
    if options.get("objective") == "alm":
        options = {**options, "objective": get("alm", debias=False)}
        message = message.replace("'alm' .*", "'alm' ")
    with pytest.raises(InputError, match=message):
        Distiller(tokenizer, teachers, **options)


def test_no_teacher_and_one_without_an_end(tokenizer, teachers):
    with pytest.raises(InputError, match="the Distiller has no teacher"):
        Distiller(tokenizer, {})
    teachers["a"].stop_ids = ()
    with pytest.raises(InputError, match="the teacher 'teacher' has no stop_ids"):
        Distiller(tokenizer, teachers["a"])
    Distiller(tokenizer, teachers["a"], stop_unit=False)


def test_completions_that_are_padded(tokenizer, teachers, completions):
    distiller, stop = Distiller(tokenizer, teachers["a"]), tokenizer.eos_token_id
    padded = [completions[0], [*completions[1], stop, stop]]
    with pytest.raises(InputError, match="the completion of row 1 goes on after a stop token: give what was sampled"):
        scored(distiller, padded)
    with pytest.raises(InputError, match="there is nothing to score"):
        distiller.score([], [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.5, None])
def test_log_probabilities_that_are_none(tokenizer, teachers, completions, value):
    rows: list[Any] = [list(row) for row in old(completions)]
    rows[1][2] = value
    with pytest.raises(InputError, match="old_logprobs of row 1 are not all finite and at most 0"):
        Distiller(tokenizer, teachers["a"]).score([QUESTION] * 3, completions, rows)


def test_numbers_that_do_not_fit(tokenizer, teachers, completions):
    distiller, prompts = Distiller(tokenizer, teachers["a"]), [QUESTION] * 3
    with pytest.raises(InputError, match="old_logprobs has 2 rows for 3 completions"):
        distiller.score(prompts, completions, old(completions)[:2])
    for stops in ([None] * 3, [-0.5, -0.5], [-0.5, -0.5, None]):
        with pytest.raises(InputError, match="stop_logprobs must hold a value for each turn that stopped"):
            distiller.score(prompts, completions, old(completions), stop_logprobs=stops)
    with pytest.raises(InputError, match="stop_logprobs belong to old_logprobs"):
        distiller.score(prompts, completions, stop_logprobs=[-0.5] * 3)


def test_masks_of_tool_results(tokenizer, teachers, completions):
    distiller, ids = Distiller(tokenizer, teachers["a"]), completions[:1]
    mask = [[1] * len(ids[0])]
    for options in ({"sampled_masks": mask}, {"conversations": TALK}):
        with pytest.raises(InputError, match="sampled_masks and conversations belong together"):
            distiller.score([QUESTION], ids, old(ids), **options)
    with pytest.raises(InputError, match="the sampled mask of row 0 has 3 values for"):
        distiller.score([QUESTION], ids, old(ids), sampled_masks=[[1, 1, 1]], conversations=TALK)


class Own(Objective):
    name: ClassVar[str] = "own"
    given: Any = None

    @property
    def signal(self) -> Signal:
        return Signal.SAMPLED

    def advantages(self, batch: Any) -> Any:
        return super().advantages(batch) if self.given is None else self.given(len(batch.student.ids))

    def loss(self, inputs: LossInputs) -> LossSum:
        return inputs.student.hidden.sum()  # type: ignore[return-value]


def test_what_an_objective_returns(tokenizer, teachers, completions):
    objective = Own()
    distiller = Distiller(tokenizer, teachers["a"], objective)
    distiller.is_verified = True  # the states are made up
    batch = scored(distiller, completions)
    states, head = torch.zeros(int(batch.loss_mask.sum()), 4), LMHead(torch.zeros(len(distiller.vocab), 4))
    with pytest.raises(InputError, match="objective 'own' returned a Tensor: `loss` returns a LossSum"):
        distiller.loss(batch, states, head)
    for given in (lambda n: torch.zeros(n + 1), lambda n: torch.full((n,), np.nan)):
        objective.given = given
        with pytest.raises(InputError, match="objective 'own' gave advantages of shape"):
            scored(distiller, completions)


def test_an_abstract_objective_and_one_without_its_heads(sides, tokenizer, completions):
    with pytest.raises(InputError, match="is abstract: implement loss, signal"):
        get("crossdistill.objectives:Objective")
    with pytest.raises(InputError, match="objective 'bld' trains heads that are attached to the student"):
        _ = get("bld").heads
    assert FakeTeacher(*sides["gemma"]).stop_ids
