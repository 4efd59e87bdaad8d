"""The parts of a training step: sampling, passes of both models, products with the vocabulary, backward, optimizer.

Watched from outside, in the same way for our trainer and TRL's: whatever is not a call of these is the rest.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks.steps.stopwatch import Stopwatch
from crossdistill import objectives
from crossdistill.ops import chosen, head, pieces, tiled

SAMPLING, TEACHER, SCORING, FORWARD = "sampling", "teacher", "student scoring", "student forward"
HEAD, BACKWARD, OPTIMIZER = "head", "backward", "optimizer"


@contextmanager
def watched(watch: Stopwatch, trainer: Any, student: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """Count the parts of a trainer's steps while it is open.

    ``head`` is the products with the vocabulary that our objectives make outside of the models, with what is computed
    from each tile of logits; in the pass of a TRL trainer they are part of the models' forward pass.

    Args:
        watch: counts.
        trainer: of transformers' form; its optimizer is made by ``train``.
        student: the model that is trained, without wrappers.
        teacher: the model that is asked.
    """
    handles = [*_forwards(watch, student, is_student=True), *_forwards(watch, teacher, is_student=False)]
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        generate = watch.timed(SAMPLING, type(student).generate)
        stack.enter_context(patch.object(type(student), "generate", generate))
        backward = watch.timed(BACKWARD, trainer.accelerator.backward)
        stack.enter_context(patch.object(trainer.accelerator, "backward", backward))
        clip = watch.timed(OPTIMIZER, trainer.accelerator.clip_grad_norm_)
        stack.enter_context(patch.object(trainer.accelerator, "clip_grad_norm_", clip))
        step = watch.timed(OPTIMIZER, torch.optim.AdamW.step)
        stack.enter_context(patch.object(torch.optim.AdamW, "step", step))
        for name in "logits", "raw":
            stack.enter_context(patch.object(head.LMHead, name, watch.timed(HEAD, getattr(head.LMHead, name))))
        for function in tiled._TiledSum, chosen._ChosenRaw:
            whole = staticmethod(watch.timed(HEAD, function.forward))
            stack.enter_context(patch.object(function, "forward", whole))
        stack.enter_context(_replaced(pieces.logit_pieces, _pieces_timed(watch)))
        yield


def _pieces_timed(watch: Stopwatch) -> Callable[..., Any]:
    """``logit_pieces``, which all other functions of logits go by; what its caller does with a piece counts, too."""
    own = pieces.logit_pieces

    @wraps(own)
    def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with watch.part(HEAD):
            yield from own(*args, **kwargs)

    return timed


@contextmanager
def _replaced(own: Callable[..., Any], other: Callable[..., Any]) -> Iterator[None]:
    """Another function in the place of one of this package, in every module that has it by its name."""
    for name in objectives.available():
        objectives.get(name)  # a module that is loaded later would keep what it finds here
    modules = [module for name, module in sys.modules.items() if name.startswith("crossdistill.")]
    with ExitStack() as stack:
        for module in modules:
            if vars(module).get(own.__name__) is own:
                stack.enter_context(patch.object(module, own.__name__, other))
        yield


def _forwards(watch: Stopwatch, model: nn.Module, is_student: bool) -> list[Any]:
    """Hooks around a model's own forward pass and that of its backbone, whichever is called from outside."""

    def begin(module: nn.Module, _arguments: Any) -> None:
        if watch.current in (SAMPLING, BACKWARD):  # generation's passes, and those of recomputation
            name = watch.current
        elif is_student:
            name = FORWARD if torch.is_grad_enabled() else SCORING
        else:
            name = TEACHER
        watch.begin(name)

    def end(module: nn.Module, _arguments: Any, _output: Any) -> None:
        watch.end()

    handles = []
    for module in {model, getattr(model, "model", model)}:
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)]
    return handles
