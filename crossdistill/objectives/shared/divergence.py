"""Divergences of a student's distribution from a teacher's, over the same candidates, and checks of numeric options.

With S the student, T the teacher, m the option `mix` and M = m T + (1 - m) S:

    reverse        KL(S || T)
    forward        KL(T || S)
    jsd            m KL(T || M) + (1 - m) KL(S || M)      (generalised JSD, Agarwal et al. 2306.13649, section 3)
    skew_forward   KL(T || m T + (1 - m) S)               (DistiLLM, Ko et al. 2402.03898, section 3.1)
    skew_reverse   KL(S || (1 - m) T + m S)

All are at least 0, and 0 at S == T.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdistill.errors import InputError

FLOOR_NATS = -100.0
"""Smaller log-probabilities count as this one, so that a probability of 0 on one side keeps a loss finite."""


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P || Q) in nats, [R], from log-probabilities [R, K] that are finite."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _mixture(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """log (weight P + (1 - weight) Q)."""
    if weight in (0, 1):
        return log_p if weight else log_q
    return torch.logaddexp(log_p + math.log(weight), log_q + math.log1p(-weight))


def _jsd(student: Tensor, teacher: Tensor, mix: float) -> Tensor:
    mixture = _mixture(teacher, student, mix)
    return mix * kl(teacher, mixture) + (1 - mix) * kl(student, mixture)


_DIVERGENCES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "reverse": lambda student, teacher, mix: kl(student, teacher),
    "forward": lambda student, teacher, mix: kl(teacher, student),
    "jsd": _jsd,
    "skew_forward": lambda student, teacher, mix: kl(teacher, _mixture(teacher, student, mix)),
    "skew_reverse": lambda student, teacher, mix: kl(student, _mixture(student, teacher, mix)),
}
DIVERGENCES = tuple(_DIVERGENCES)


@dataclass(frozen=True)
class Divergence:
    """One of the module's divergences.

    Attributes:
        name: one of ``DIVERGENCES``.
        mix: m.

    Raises:
        InputError: there is no such divergence, `mix` lies outside [0, 1], or it makes the divergence 0 everywhere.

    Example:
        >>> student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
        >>> [round(Divergence(name)(student, teacher).item(), 3) for name in ("reverse", "forward", "jsd")]
        [0.144, 0.131, 0.034]
    """

    name: str
    mix: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in _DIVERGENCES:
            raise InputError(f"there is no divergence {self.name!r}; choose one of {', '.join(DIVERGENCES)}.")
        if not 0 <= self.mix <= 1:
            raise InputError(f"mix, the share of a distribution in a mixture, lies in [0, 1], not {self.mix}.")
        if (self.name == "jsd" and self.mix in (0, 1)) or (self.name.startswith("skew") and self.mix == 1):
            raise InputError(f"divergence {self.name!r} with mix = {self.mix:g} is always 0: choose another mix.")

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Nats, [R], of log-probabilities [R, K] over the same candidates; each side sums to 1."""
        return _DIVERGENCES[self.name](student.clamp(min=FLOOR_NATS), teacher.clamp(min=FLOOR_NATS), self.mix)


def check_positive(**options: float) -> None:
    """Raises InputError if an option is not a finite number above 0."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} must be a finite number > 0, not {value}.")


def check_not_negative(**options: float) -> None:
    """Raises InputError if an option is not a finite number of at least 0."""
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name} must be a finite number >= 0, not {value}.")
