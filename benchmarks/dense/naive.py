"""The same losses in their naive form: whole logits of both models, log_softmax, autograd.

Only the defaults of each objective, as sums over chunks. They are measured together with ours, and in every measurement
ours must agree with them on a few tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from crossdistill.objectives import LossInputs
from crossdistill.ops import HiddenStates

Naive = Callable[[LossInputs], Tensor]


def _log_probs(states: HiddenStates) -> Tensor:
    """Log-probabilities at every token, as a model gives them: [N, V], float32."""
    hidden, head = states
    return torch.log_softmax(head.logits(hidden), -1)


def _at_starts(inputs: LossInputs) -> tuple[Tensor, Tensor]:
    """[C, V_S] and [C, V_T]."""
    batch = inputs.batch
    teacher = _log_probs(batch.teacher.dense).detach()
    return _log_probs(inputs.student)[batch.student_splits[:-1]], teacher[batch.teacher_splits[:-1]]


def _shared(inputs: LossInputs, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    columns = inputs.batch.pair.shared(student.device)
    return columns.student.select(student), columns.teacher.select(teacher)


def _reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = (torch.log_softmax(side, -1) for side in (student, teacher))
    return (student.exp() * (student - teacher)).sum(-1)


def _sorted_distance(student: Tensor, teacher: Tensor) -> Tensor:
    width = max(student.shape[1], teacher.shape[1])
    sides = [
        torch.nn.functional.pad(side.sort(-1, descending=True).values, (0, width - side.shape[1]))
        for side in (student, teacher)
    ]
    return (sides[0] - sides[1]).abs().sum(-1)


def shared_vocab(inputs: LossInputs) -> Tensor:
    return _reverse_kl(*_shared(inputs, *_at_starts(inputs))).sum()


def strict(inputs: LossInputs) -> Tensor:
    kept = torch.as_tensor(inputs.batch.alignment.is_one_to_one, device=inputs.batch.device)
    student, teacher = _at_starts(inputs)
    return _reverse_kl(*_shared(inputs, student[kept], teacher[kept])).sum()


def simct(inputs: LossInputs) -> Tensor:
    batch = inputs.batch
    means, starts = [], []
    for states, ids, splits in (
        (inputs.student, batch.student.ids, batch.student_splits),
        (batch.teacher.dense, batch.teacher.ids, batch.teacher_splits),
    ):
        log_probs = _log_probs(states)
        chunk_of = torch.repeat_interleave(splits.diff())
        realised = log_probs.gather(1, ids[:, None])[:, 0]
        means.append(realised.new_zeros(len(splits) - 1).index_add(0, chunk_of, realised) / splits.diff())
        starts.append(log_probs[splits[:-1]])
    is_unit = torch.as_tensor(~batch.alignment.is_one_to_one, device=batch.device)
    units = [mean.masked_fill(~is_unit, -1e4)[:, None] for mean in means]
    both = [torch.cat(side, -1) for side in zip(_shared(inputs, *starts), units, strict=True)]
    return _reverse_kl(both[0], both[1].detach()).sum()


def uld(inputs: LossInputs) -> Tensor:
    return _sorted_distance(*(side.exp() for side in _at_starts(inputs))).sum()


def gkd(inputs: LossInputs) -> Tensor:
    student, teacher = _at_starts(inputs)
    return _jsd(student, teacher).sum()


def gold(inputs: LossInputs) -> Tensor:
    batch = inputs.batch
    merged = []
    for states, ids, splits in (
        (inputs.student, batch.student.ids, batch.student_splits),
        (batch.teacher.dense, batch.teacher.ids, batch.teacher_splits),
    ):
        log_probs = _log_probs(states)
        realised = log_probs.gather(1, ids[:, None])[:, 0].index_fill(0, splits[:-1], 0.0)
        chunk_of = torch.repeat_interleave(splits.diff())
        scale = realised.new_zeros(len(splits) - 1).index_add(0, chunk_of, realised)
        merged.append(log_probs[splits[:-1]] + scale[:, None])
    student, teacher = merged[0], merged[1].detach()
    columns = batch.pair.shared(student.device)
    overlap = len(columns.student.first) / teacher.shape[1]
    rests = []
    for side, groups in ((student, columns.student), (teacher, columns.teacher)):
        is_rest = torch.ones(side.shape[1], dtype=torch.bool, device=side.device)
        is_rest[groups.first] = False
        is_rest[groups.ids[groups.mask]] = False
        rests.append(side[:, is_rest].exp())
    matched = _jsd(*_shared(inputs, student, teacher))
    return (overlap * matched + (1 - overlap) * _sorted_distance(*rests)).sum()


def _jsd(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = student.exp(), teacher.exp()
    mixture = ((ours + theirs) / 2).log()
    return 0.5 * (ours * (student - mixture)).sum(-1) + 0.5 * (theirs * (teacher - mixture)).sum(-1)


FORMS: dict[str, Naive] = {form.__name__: form for form in (shared_vocab, strict, simct, uld, gkd, gold)}
"""Name of the objective -> naive form. bpm, bld and multilevel_ot have none: their oracles are in tests/oracles."""
