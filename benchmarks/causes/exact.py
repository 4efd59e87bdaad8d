"""Two enumerable models, the exact divergences of their texts, and the exact gradient of an objective's expectation.

Shapes: S states and V entries of the student's table, R spellings, N student tokens of all spellings together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.causes.language import STOP, Spelling, Table, canonical, free_spellings
from crossdistill.objectives import AlignedBatch, LossInputs, Objective, VocabPair
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import OutputLayer, batch, with_signal


@dataclass(frozen=True)
class ToyPair:
    """A student's tokenizer with every text that it may write, and a teacher that scores them.

    Attributes:
        student: its table; another one with the same states may take its place in every method.
        teacher: the teacher's.
        spellings: everything that the student may sample.
    """

    student: Table
    teacher: Table
    spellings: list[Spelling]

    @classmethod
    def of(cls, student: Table, teacher: Table, longest: int, free: bool = False) -> "ToyPair":
        spell = free_spellings if free else canonical
        return cls(student, teacher, spell(student.vocabulary, longest))

    @cached_property
    def parts(self) -> list[AlignedBatch]:
        """The batch of each spelling, with the teacher's distributions."""
        pair = VocabPair(self.student.vocabulary, self.teacher.vocabulary, (STOP,), (STOP,))
        heads = [LMHead(torch.eye(len(side.vocabulary), dtype=torch.float64)) for side in (self.student, self.teacher)]
        found = []
        for one in self.spellings:
            ids = self.teacher.vocabulary.encode(one.text).ids.tolist()
            ends = [b"".join(self.teacher.vocabulary.pieces[token] for token in ids[:k]) for k in range(len(ids) + 1)]
            rows = [self.teacher.rows[end] for end in ends]
            states = (
                HiddenStates(self.student.logits[[self.student.rows[state] for state in one.states]], heads[0]),
                HiddenStates(self.teacher.logits[rows], heads[1]),
            )
            found.append(batch(pair, one.ids[:-1], STOP, states))
        return found

    @cached_property
    def rows(self) -> Tensor:
        """The state of each student token, int64 [N]."""
        return torch.tensor([self.student.rows[state] for one in self.spellings for state in one.states])

    @cached_property
    def ids(self) -> Tensor:
        """int64 [N]."""
        return torch.tensor([token for one in self.spellings for token in one.ids])

    @cached_property
    def owners(self) -> Tensor:
        """The spelling of each student token, int64 [N]."""
        return torch.repeat_interleave(torch.tensor([len(one.ids) for one in self.spellings]))

    @cached_property
    def teacher_logprobs(self) -> Tensor:
        """Of the text of each spelling, nats, [R]."""
        return torch.stack([part.teacher.logprobs.sum() for part in self.parts])

    def logprobs(self, logits: Tensor) -> Tensor:
        """Of each spelling under a student's table [S, V]: nats, [R], differentiable."""
        return self.sums(self.token_logprobs(logits))

    def token_logprobs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)[self.rows, self.ids]

    def sums(self, values: Tensor) -> Tensor:
        """Of the values [N] of each spelling's tokens: [R]."""
        return values.new_zeros(len(self.spellings)).index_add(0, self.owners, values)

    # ---- the targets ------------------------------------------------------------------------------------------------

    @cached_property
    def _of_text(self) -> tuple[Tensor, Tensor]:
        """The text of each spelling, int64 [R], and the teacher's log-probability of each text."""
        names = {text: k for k, text in enumerate(dict.fromkeys(one.text for one in self.spellings))}
        numbers = torch.tensor([names[one.text] for one in self.spellings])
        teacher = self.teacher_logprobs.new_zeros(len(names)).index_copy(0, numbers, self.teacher_logprobs)
        return numbers, teacher

    def reverse_kl(self, logits: Tensor) -> Tensor:
        """KL(student || teacher) over texts, all spellings of a text together; nats, differentiable."""
        numbers, teacher = self._of_text
        student = logits.new_zeros(len(teacher)).index_add(0, numbers, self.logprobs(logits).exp())
        return (student * (student.log() - teacher)).sum()

    def reverse_kl_of_spellings(self, logits: Tensor) -> Tensor:
        """The same with the spelling that was sampled alone: less by the entropy of the spelling given the text."""
        student = self.logprobs(logits)
        return (student.exp() * (student - self.teacher_logprobs)).sum()

    def forward_kl(self, logits: Tensor) -> Tensor:
        """KL(teacher || student) over texts; nats, differentiable."""
        numbers, teacher = self._of_text
        student = logits.new_zeros(len(teacher)).index_add(0, numbers, self.logprobs(logits).exp())
        return (teacher.exp() * (teacher - student.log())).sum()

    def mean_tokens(self, logits: Tensor) -> Tensor:
        """Student tokens of a text, its stop included, in expectation."""
        counts = torch.bincount(self.owners).to(logits.dtype)
        return (self.logprobs(logits).exp() * counts).sum()

    def gradient_of(self, value: str, logits: Tensor) -> Tensor:
        """The gradient of a target (a method's name) a token, [S, V]: on the scale of a mean over tokens."""
        leaf = logits.detach().requires_grad_()
        (found,) = torch.autograd.grad(getattr(self, value)(leaf), leaf)
        return found.masked_fill(~self.student.can_follow, 0) / self.mean_tokens(logits.detach())


class Expectation(NamedTuple):
    """An objective's gradient over everything that the student may sample.

    Attributes:
        mean: the expected gradient of the loss divided by the expected weight, [S, V].
        second_moment: the expected squared norm of the gradient of one response, on the same scale.
        supervised: share of the sampled tokens with a gradient of their own.
    """

    mean: Tensor
    second_moment: float
    supervised: float


class Expected:
    """The expectation of an objective on a pair, for any table of the student.

    The student's states are its logits, and its head is the identity: so one backward pass gives the gradient of each
    token of each spelling, because a loss is a sum over responses.

    Attributes:
        heads: modules that the objective trains beside the student.
    """

    def __init__(self, pair: ToyPair, objective: Objective):
        self.pair, self.objective = pair, objective
        self._head = LMHead(torch.eye(len(pair.student.vocabulary), dtype=torch.float64))
        parts = [with_signal(part, objective) for part in pair.parts]
        self._weights = torch.tensor([objective.weight(part) for part in parts], dtype=torch.float64)
        self._batch = AlignedBatch.concatenate(parts)
        self.heads: nn.Module = OutputLayer(self._head)
        objective.attach(self.heads)

    def __call__(self, logits: Tensor) -> Expectation:
        """Also leaves the expected gradient in the parameters of `heads`."""
        pair, logits = self.pair, logits.detach()
        probs = pair.logprobs(logits).exp()
        weight = float((probs * self._weights).sum()) or 1.0
        rows = self._rows(logits)
        found = rows * probs[pair.owners, None] / weight
        mean = torch.zeros_like(logits).index_add(0, pair.rows, found)
        norms = pair.sums(rows.square().sum(-1)) / weight**2
        has = (rows.abs().amax(-1) > 1e-12).to(logits.dtype)
        shares = pair.sums(has) * probs
        return Expectation(mean, float((probs * norms).sum()), float(shares.sum() / pair.mean_tokens(logits)))

    def train_heads(self, logits: Tensor, steps: int = 40, rate: float = 3e-3) -> None:
        """Train the objective's own heads on the expected loss while the student rests; without heads nothing."""
        parameters = list(self.heads.parameters())
        if not parameters:
            return
        optimizer = torch.optim.Adam(parameters, lr=rate)
        for _ in range(steps):
            self(logits)
            optimizer.step()

    def _rows(self, logits: Tensor) -> Tensor:
        """The gradient of the loss with respect to the logits of each token of each spelling, [N, V]."""
        pair = self.pair
        own = pair.token_logprobs(logits)
        student = replace(self._batch.student, old_logprobs=own, logprobs=own)
        aligned = replace(self._batch, student=student)
        hidden = logits[pair.rows].requires_grad_()
        inputs = LossInputs(aligned, self.objective.advantages(aligned), HiddenStates(hidden, self._head))
        loss = self.objective.loss(inputs).total
        if not loss.requires_grad:
            return torch.zeros_like(hidden)
        for parameter in self.heads.parameters():
            parameter.grad = None
        loss.backward()
        assert hidden.grad is not None
        return hidden.grad.masked_fill(~pair.student.can_follow[pair.rows], 0)


def full_returns(pair: ToyPair, logits: Tensor) -> Tensor:
    """The score-function gradient with the whole log-ratio of the text at each token: exactly that of the target.

    A control of this file: its cosine with the target is 1.
    """
    leaf = logits.detach().requires_grad_()
    own = pair.logprobs(leaf)
    ratio = (own - pair.teacher_logprobs).detach()
    (found,) = torch.autograd.grad((own.exp().detach() * ratio * own).sum(), leaf)
    return found.masked_fill(~pair.student.can_follow, 0)


def cosine(one: Tensor, other: Tensor) -> float:
    """0 if one of them is 0."""
    norms = float(one.norm() * other.norm())
    return float((one * other).sum()) / norms if norms > 1e-14 else 0.0


def interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float, float]:
    """Mean and 95 % interval of the mean, resampled over pairs."""
    data = torch.tensor(values, dtype=torch.float64)
    chosen = torch.randint(len(data), (draws, len(data)), generator=torch.Generator().manual_seed(0))
    means = data[chosen].mean(-1)
    return float(data.mean()), float(means.quantile(0.025)), float(means.quantile(0.975))
