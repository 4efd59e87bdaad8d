"""Training and evaluation mode of a model, for as long as a block of code runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode; afterwards each module is in its own mode again.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).eval())
        >>> with in_mode(model, training=False):
        ...     model.training
        False
        >>> [module.training for module in model]
        [True, False]
    """
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training
