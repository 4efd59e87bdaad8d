"""A function that is called inside a wrapper's forward pass, so that DDP, FSDP and DeepSpeed take part in it.

FSDP2 in mixed precision casts what goes into its forward pass and what comes out. That is meant for activations;
here results come out, such as the loss and log-probabilities, and the number of items goes in.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from trl.models.utils import _ForwardRedirection


class Redirection(_ForwardRedirection):
    """TRL's redirection; what goes in and comes out keeps its precision.

    Example:
        >>> class Halving(nn.Module):
        ...     def __init__(self, module):
        ...         super().__init__()
        ...         self.module = module
        ...
        ...     def forward(self, *args):
        ...         return self.module(*[value.half() for value in args]).half()
        >>> import torch
        >>> module, third = nn.Identity(), torch.tensor(1 / 3)
        >>> Redirection()(Halving(module), module, lambda value: value.neg(), third).item() == -third.item()
        True
    """

    def __call__(
        self,
        wrapper_module: nn.Module,
        original_module: nn.Module,
        method: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        results = []

        def inside() -> Any:
            results.append(method(*args, **kwargs))
            return results[0]

        # the wrapper has to see what comes out: it gathers weights again as the gradient comes back
        passed = super().__call__(wrapper_module, original_module, inside)
        if isinstance(passed, tuple):
            return tuple(_uncast(*pair) for pair in zip(results[0], passed, strict=True))
        return _uncast(results[0], passed)


def _uncast(result: Any, passed: Any) -> Any:
    is_cast = isinstance(passed, Tensor) and passed.dtype != result.dtype
    return result if is_cast else passed
