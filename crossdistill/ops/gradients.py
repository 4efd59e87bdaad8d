"""What the gradient of a loss in tiles cannot do, told in a sentence."""

import torch

from crossdistill.errors import InputError


def refuse_second_derivatives() -> None:
    """To be called in a backward pass whose result is constant.

    Raises:
        InputError: the pass is recorded, so that it can be differentiated itself: what is computed here would be
            missing from the second derivative.
    """
    if torch.is_grad_enabled():
        raise InputError(
            "a loss that is computed in tiles of logits has no second derivative: differentiate it without "
            "create_graph, and give the terms that need one a backward pass of their own."
        )
