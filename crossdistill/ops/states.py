"""Hidden states and the head that makes logits of them."""

from typing import NamedTuple

from torch import Tensor

from crossdistill.ops.head import LMHead


class HiddenStates(NamedTuple):
    """hidden: [N, H]; row i predicts token i. head: makes logits of it."""

    hidden: Tensor
    head: LMHead

    def at(self, rows: Tensor) -> "HiddenStates":
        """Those of some rows, or of rows by a mask."""
        return self._replace(hidden=self.hidden[rows])
