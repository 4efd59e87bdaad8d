"""Fused kernels of others that do the same work as a way of ours, on the same states and weights.

- ``liger_jsd``: Liger's LigerFusedLinearJSD. The generalised JSD of two models with one vocabulary, summed over
  positions, with the gradients of the student's states and weight: the work of our ``gkd``.
- ``liger_cross_entropy``: Liger's LigerFusedLinearCrossEntropyLoss. The log-probability of one token at each position,
  with both gradients: the work of our ``sampled`` (:func:`crossdistill.ops.token_logprobs`), on which all objectives
  rest that need no more of a teacher than the probability of the sampled token. Ours also gives the entropy.
- ``cut_cross_entropy``: Apple's linear_cross_entropy, the same work. With ``filter_eps="auto"``, its paper's setting,
  it leaves out gradients that bfloat16 would round away.

All are Triton kernels and need a GPU; the packages are those of the dependency group ``gpu-benchmark``.
"""

from collections.abc import Callable

from torch import Tensor

from benchmarks.dense.case import Case
from benchmarks.dense.measure import Step, backward
from benchmarks.gpu.installed import CUT_CROSS_ENTROPY, LIGER_CROSS_ENTROPY, LIGER_JSD
from crossdistill.ops import token_logprobs

SAMPLED = "sampled"
SAME_WORK = {LIGER_JSD: "gkd", LIGER_CROSS_ENTROPY: SAMPLED, CUT_CROSS_ENTROPY: SAMPLED}
"""A kernel of others -> the way of ours that does the same work."""


def step_of(way: str) -> Callable[[Case], Step]:
    """A function from a case to one forward and backward pass, of `sampled` or of a kernel of others."""
    loss = _LOSSES[way]
    return lambda case: lambda: backward(loss(case))


def passes(way: str) -> tuple[int, int]:
    """The products that the work needs: with the student's output layer whose weight is trained, with the teacher's."""
    return 3, int(way == LIGER_JSD)


def _sampled(case: Case) -> Tensor:
    states, head = case.student
    return -token_logprobs(states, head, case.batch.student.ids).logprobs.sum()


def _liger_jsd(case: Case) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearJSD

    (ours, head), (theirs, their_head) = case.student, case.batch.teacher.dense
    mean: Tensor = LigerFusedLinearJSD(jsd_beta=0.5)(ours, head.weight, theirs, their_head.weight, None)
    return mean * len(ours)


def _liger_cross_entropy(case: Case) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    states, head = case.student
    total: Tensor = LigerFusedLinearCrossEntropyLoss(reduction="sum")(head.weight, states, case.batch.student.ids)
    return total


def _cut_cross_entropy(case: Case) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy

    states, head = case.student
    total: Tensor = linear_cross_entropy(
        states, head.weight, case.batch.student.ids, reduction="sum", filter_eps="auto"
    )
    return total


_LOSSES = {
    SAMPLED: _sampled,
    LIGER_JSD: _liger_jsd,
    LIGER_CROSS_ENTROPY: _liger_cross_entropy,
    CUT_CROSS_ENTROPY: _cut_cross_entropy,
}
