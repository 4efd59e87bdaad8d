"""Why the policy that trains is not the one that sampled: noise, another computation in training mode, or neither.

The same pass is made twice in training mode and twice in evaluation mode, in which rollouts are sampled. Two passes in
evaluation mode differ by what the hardware does not repeat; two in training mode by noise on top of it; and one of each
by what the model computes in training mode alone. The last may be nothing but another kernel, as Mamba's, which rounds
otherwise: then the first layer that differs does so by no more than rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from crossdistill.distill.noise import named, noise_sources, numbers_of, random_state_kept
from crossdistill.ops import causal_lm
from crossdistill.ops.mode import in_mode
from crossdistill.ops.trace import first_difference, roundings_apart, where_not_finite

Forward = Callable[[], Tensor]
MIN_NOISE = 1e-5
"""Nats a token by which two passes in training mode differ at least if there is noise."""
MIN_BRANCH = 1e-4
"""Likewise one in each mode, if there is a branch. Without one the gap is exactly 0 if both modes have the
same kernels; other kernels in bfloat16 move log-probabilities by 0.01 to 0.03, as much as a small branch does."""
MAX_ROUNDINGS = 4
"""Roundings by which the first layer that differs is apart at most if it is another kernel. One that sums in another
order is below 1; a factor of 1.05 is at 6 in bfloat16."""


class ModeGaps(NamedTuple):
    """Sums over tokens of how far two passes are apart in nats, to be added up over processes.

    Attributes:
        tokens: compared.
        repeat: of two in evaluation mode.
        noise: of two in training mode.
        branch: of one in each mode.
    """

    tokens: float
    repeat: float
    noise: float
    branch: float

    @property
    def is_noisy(self) -> bool:
        """Whether training mode has noise that evaluation mode has not."""
        return self.noise > 4 * self.repeat + MIN_NOISE * self.tokens

    @property
    def has_branch(self) -> bool:
        """Whether training mode computes something else than evaluation mode, or rounds otherwise."""
        return self.branch > 4 * self.repeat + MIN_BRANCH * self.tokens


class PolicyProbe:
    """Compares passes of the student over some rows of a rollout.

    Args:
        student: the model; put into either mode and back.
        forward: a pass without gradient in the mode in which the model is: log-probabilities of supervised tokens.
    """

    def __init__(self, student: nn.Module, forward: Forward):
        self._student = student
        self._forward = forward

    def gaps(self) -> ModeGaps:
        """How far passes are apart in and between the modes."""
        with random_state_kept(self._student):
            evaluated, again = self._pass(False), self._pass(False)
            trained, anew = self._pass(True), self._pass(True)
        differences = [evaluated - again, trained - anew, trained - evaluated]
        return ModeGaps(float(len(evaluated)), *(float(one.double().abs().sum()) for one in differences))

    def source_of_noise(self) -> str:
        """The layer that is random in training mode, with the numbers that it may take its noise from."""
        return self._described(lambda: self._pass(True), lambda: self._pass(True))

    def is_rounding(self) -> bool:
        """Whether the first layer that computes something else in training mode does no more than round otherwise."""
        model, (forward, other) = causal_lm(self._student), self._both_modes
        with random_state_kept(model):
            layer = first_difference(model, forward, other)
            if layer is None:
                return False
            module = model if layer == type(model).__name__ else model.get_submodule(layer.partition(" (")[0])
            return roundings_apart(module, forward, other) <= MAX_ROUNDINGS

    def source_of_branch(self) -> str:
        """The layer that computes something else in training mode."""
        return self._described(*self._both_modes)

    @property
    def _both_modes(self) -> tuple[Forward, Forward]:
        return lambda: self._pass(False), lambda: self._pass(True)

    def source_of_overflow(self) -> str:
        """The weight or layer that is the first with NaN or infinity in training mode."""
        model = causal_lm(self._student)
        with random_state_kept(model):
            return where_not_finite(model, lambda: self._pass(True)) or "a part that is no layer"

    def _described(self, forward: Forward, other: Forward) -> str:
        model = causal_lm(self._student)
        with random_state_kept(model):
            layer = first_difference(model, forward, other)
        if layer is None:
            return "a part that is no layer"
        path = layer.partition(" (")[0]
        own = [source for source in noise_sources(model) if f"{source.path}.".startswith(f"{path}.")]
        numbers = named(own or numbers_of(model))
        return f"{layer}, perhaps from {numbers}," if numbers else layer

    @torch.no_grad()
    def _pass(self, training: bool) -> Any:
        with in_mode(self._student, training):
            return self._forward()
