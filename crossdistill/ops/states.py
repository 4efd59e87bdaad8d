"""Hidden states together with the head that turns them into logits."""

from typing import NamedTuple

from torch import Tensor

from crossdistill.ops.head import LMHead


class HiddenStates(NamedTuple):
    """Hidden states of a model, with its head.

    Attributes:
        hidden: [N, H]; row n is the state that predicts token n.
        head: turns the states into logits.

    Example:
        >>> import torch
        >>> states = HiddenStates(torch.arange(6.0).view(3, 2), LMHead(weight=torch.eye(2)))
        >>> states.at(torch.tensor([2, 0])).hidden.tolist()
        [[4.0, 5.0], [0.0, 1.0]]
    """

    hidden: Tensor
    head: LMHead

    def at(self, rows: Tensor) -> "HiddenStates":
        """The states of some rows, by index or by mask."""
        return self._replace(hidden=self.hidden[rows])
