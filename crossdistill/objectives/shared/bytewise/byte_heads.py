"""Linear heads that read the bytes of the next token off a hidden state.

Shapes: H hidden size, K bytes, 257 symbols: the byte values and the end of the response.
"""

import torch
from torch import Tensor, nn

from crossdistill.ops import LMHead, full_tensor

STOP = 256
"""The symbol of the end of a response."""
NUM_SYMBOLS = 257


class ByteHeads(nn.Module):
    """Head k maps the state that predicts a token to logits of its byte k.

    The parameters begin at 0: every symbol is equally probable, and the trunk moves only by what the heads have learnt.

    Args:
        hidden_size: H.
        num_bytes: K.
        speed: factor on the parameters. An optimizer such as Adam changes a parameter by about the learning rate
            whatever its scale, so the heads learn `speed` times as fast as the trunk.
    """

    def __init__(self, hidden_size: int, num_bytes: int, speed: float):
        super().__init__()
        self.speed = speed
        self.weight = nn.Parameter(torch.zeros(num_bytes * NUM_SYMBOLS, hidden_size))
        self.bias = nn.Parameter(torch.zeros(num_bytes * NUM_SYMBOLS))

    def forward(self) -> LMHead:
        """All heads as one: [N, H] -> [N, K * 257], head by head."""
        return LMHead(full_tensor(self.weight), full_tensor(self.bias), scale=self.speed)


def per_byte(logits: Tensor, num_symbols: int) -> Tensor:
    """[R, K * 257] -> [R, K, num_symbols]; 256 symbols leave out the end of the response."""
    return logits.unflatten(-1, (-1, NUM_SYMBOLS))[..., :num_symbols]
