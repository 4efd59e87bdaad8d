"""The expected loss against its definition."""

from dataclasses import replace

import pytest
import torch

from crossdistill.objectives.expected import Expected
from tests.objectives.byte_prefixes import logits, responses, text_of, total_of
from tests.objectives.cases import case
from tests.oracles import expected as oracle


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stop_unit", [True, False])
@pytest.mark.parametrize("bound", [10.0, 0.5])
def test_value_and_gradient_equal_the_definition(seed, stop_unit, bound):
    """A bound of half a nat is reached, and old log-probabilities that are not the student's own are clipped."""
    whole = case(Expected(max_advantage=bound), seed=seed, stop_unit=stop_unit)
    inputs = whole.inputs()
    noise = torch.randn(len(inputs.advantages), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    student = replace(inputs.batch.student, old_logprobs=inputs.batch.student.old_logprobs + 0.5 * noise)
    inputs = replace(inputs, batch=replace(inputs.batch, student=student))
    sizes = [len(part.student.ids) for part in whole.parts]
    old, advantages = (values.split(sizes) for values in (student.old_logprobs, inputs.advantages))
    expected = total_of(
        [
            oracle.loss(text_of(whole.parts[k]), *logits(whole, k), old[k], advantages[k], bound)
            for k in responses(whole)
        ]
    )
    leaves = [whole.hidden[k] for k in responses(whole)]
    ours = whole.objective.loss(inputs).total
    torch.testing.assert_close(ours, expected)
    for got, wanted in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted)
