"""A trace of a forward pass: which layer is the first to be random, to compute something else, or to overflow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from crossdistill.ops.rounding import rounding
from crossdistill.ops.sharded import own_part

Forward = Callable[[], object]


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        name: path and class of the module, ``layers.0.mlp (LlamaMLP)``.
        inputs: fingerprints of the tensors that it was given.
        output: of the tensors that it returned.
        dtype: of its output; None if it returned no tensor.
    """

    name: str
    inputs: tuple[float, ...]
    output: tuple[float, ...]
    dtype: torch.dtype | None


def first_difference(model: nn.Module, forward: Forward, other: Forward) -> str | None:
    """The innermost module that two passes give the same and that answers differently.

    Args:
        model: whose modules are watched.
        forward: a pass through the model.
        other: another one on the same inputs.

    Returns:
        Path and class of the module; None if there is none.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        >>> first_difference(model, lambda: model(torch.ones(9, 4)), lambda: model(torch.ones(9, 4)))
        '1 (Dropout)'
    """
    ours, theirs = _numbered(_calls(model, forward)), _numbered(_calls(model, other))
    for key, call in ours.items():
        twin = theirs.get(key)
        if twin is not None and call.inputs == twin.inputs and call.output != twin.output:
            return call.name
    return None


@torch.no_grad()
def roundings_apart(module: nn.Module, forward: Forward, other: Forward) -> float:
    """How far a module's outputs are apart in two passes: relative to their size, in units of their rounding.

    Args:
        module: whose first call with another output is measured; 0 if there is none.
        forward: a pass in which it is called.
        other: another one on the same inputs.

    Example:
        >>> module = nn.Linear(8, 8)
        >>> inputs = torch.ones(2, 8)
        >>> roundings_apart(module, lambda: module(inputs), lambda: module(2 * inputs)) > 1e6
        True
    """
    for ours, theirs in zip(
        _outputs(module, forward), _outputs(module, other), strict=False
    ):  # a pass may leave it out
        if not torch.equal(ours.values, theirs.values):
            gap = (ours.values - theirs.values).norm() / ours.values.norm().clamp(min=1e-30)
            return float(gap) / max(ours.rounding, theirs.rounding)
    return 0.0


def first_not_finite(model: nn.Module, forward: Forward) -> tuple[str, torch.dtype] | None:
    """The first module that returns NaN or infinity, and its dtype; None if there is none.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float16), nn.Identity())
        >>> _ = nn.init.constant_(model[0].weight, 6e4)
        >>> first_not_finite(model, lambda: model(torch.ones(1, 2, dtype=torch.float16)))
        ('0 (Linear)', torch.float16)
    """
    for call in _calls(model, forward):
        if call.dtype is not None and not _is_finite(call.output):
            return call.name, call.dtype
    return None


def first_weight_not_finite(model: nn.Module, only_trained: bool = False) -> tuple[str, torch.dtype] | None:
    """Name and dtype of the first parameter with NaN or infinity; None if there is none.

    Args:
        model: whose parameters are read; of a sharded one, the part that this process has.
        only_trained: leaves out those that are frozen.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> first_weight_not_finite(model)
        >>> _ = nn.init.constant_(model.bias, torch.nan)
        >>> first_weight_not_finite(model)
        ('bias', torch.float32)
    """
    read = {
        name: own_part(parameter)
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point() and (parameter.requires_grad or not only_trained)
    }
    if not read:
        return None
    # A sum reads its weight once; isfinite writes several copies of it, which took 4 % of a step on a CPU.
    flags = [own.detach().sum().isfinite() for own in read.values()]
    finite = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()  # the device is waited for once
    for (name, own), is_fine in zip(read.items(), finite, strict=True):
        if not is_fine and not bool(own.detach().isfinite().all()):  # finite weights may have a sum that is not
            return name, own.dtype
    return None


def where_not_finite(model: nn.Module, forward: Forward) -> str | None:
    """The weight or layer that is the first with NaN or infinity, in words; None if there is none.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(model.bias, torch.nan)
        >>> where_not_finite(model, lambda: model(torch.ones(1, 2)))
        'the weight bias (float32)'
    """
    for kind, found in (("weight", first_weight_not_finite(model)), ("layer", first_not_finite(model, forward))):
        if found is not None:
            return f"the {kind} {found[0]} ({str(found[1]).removeprefix('torch.')})"
    return None


class _Output(NamedTuple):
    values: Tensor
    rounding: float


def _outputs(module: nn.Module, forward: Forward) -> list[_Output]:
    """The floating-point tensors that a module returns in a pass, wide, and the coarsest rounding behind them."""
    outputs: list[_Output] = []

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        for tensor in _tensors(output):
            device = tensor.device.type
            dtypes = [tensor.dtype, *([torch.get_autocast_dtype(device)] if torch.is_autocast_enabled(device) else [])]
            outputs.append(_Output(tensor.detach().double(), max(map(rounding, dtypes))))

    handle = module.register_forward_hook(hook)
    try:
        forward()
    finally:
        handle.remove()
    return outputs


def _is_finite(fingerprint: tuple[float, ...]) -> bool:
    return all(abs(value) < float("inf") for value in fingerprint)


def _numbered(calls: list[Call]) -> dict[tuple[str, int], Call]:
    """By module and number of the call: a pass may leave modules out."""
    counts: dict[str, int] = {}
    numbered = {}
    for call in calls:
        counts[call.name] = counts.get(call.name, 0) + 1
        numbered[call.name, counts[call.name]] = call
    return numbered


@torch.no_grad()
def _calls(model: nn.Module, forward: Forward) -> list[Call]:
    """The calls of all modules in a pass, in the order in which they return."""
    calls: list[Call] = []
    with _watched(model, calls):
        forward()
    return calls


@contextmanager
def _watched(model: nn.Module, calls: list[Call]) -> Iterator[None]:
    inputs: list[tuple[float, ...]] = []  # of the modules that have not returned yet

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        inputs.append(tuple(map(_fingerprint, _tensors((args, kwargs)))))

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            tensors = list(_tensors(output))
            dtype = tensors[0].dtype if tensors else None
            calls.append(Call(name, inputs.pop(), tuple(map(_fingerprint, tensors)), dtype))

        return hook

    hooks = []
    for path, module in model.named_modules():
        name = f"{path} ({type(module).__name__})" if path else type(module).__name__
        hooks += [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after(name), with_kwargs=True),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors in nested tuples, lists and tables."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _fingerprint(tensor: Tensor) -> float:
    """A number that any change of the tensor changes; infinity if an element is NaN or infinite."""
    values = tensor.detach().double().flatten()
    weights = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device).sqrt()
    return float((values @ weights).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf))
