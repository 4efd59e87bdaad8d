"""Noise of training mode: dropout in all its forms, jitter of routers, noise on embeddings.

Under noise the policy that trains is not the policy that sampled. Layers of dropout and numbers that modules keep are
set to 0. A number that a forward pass reads in the configuration is set to 0 in a copy that only the modules below the
model see, so the model is saved with its own.
"""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from crossdistill.ops import causal_lm, last_hidden_states
from crossdistill.ops.mode import in_mode

_NAME = re.compile(r"^(?!.*(keep|step|num_)).*(drop|jitter|noise|noisy)", re.IGNORECASE)
_NAMES_IN_A_LAYER = ("p", "prob", "rate", "std", "sigma", "alpha")
_LIST_SIZE = 4
_DRASTIC = 0.9
"""As large as this, a number shows in evaluation mode if that reads it at all, be it to break ties alone."""


@dataclass(frozen=True)
class NoiseSource:
    """A number above 0 that a module may take noise from in training mode.

    Attributes:
        owner: what holds it.
        path: of the owner in the model.
        attribute: its name there; of a layer of dropout, ``p``.
        value: the number.
        key: its key, if the attribute is a table (of adapters).
    """

    owner: Any
    path: str
    attribute: str
    value: float
    key: str | None = None

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer of dropout, which everybody knows of, and not a number in another module."""
        return isinstance(self.owner, _DropoutNd)

    @property
    def label(self) -> str:
        """What a message calls it: a layer by its name in the model, a number by its own."""
        parts = [part for part in self.path.split(".") if not part.isdigit() and part != "default"]
        return parts[-1] if self.is_layer and parts else self.attribute

    def set(self, value: float) -> None:
        """Change the number."""
        if self.key is None:
            setattr(self.owner, self.attribute, value)
        else:
            getattr(self.owner, self.attribute)[self.key] = value


def noise_sources(model: nn.Module) -> list[NoiseSource]:
    """The noise that a model has in training mode, as far as numbers in its modules tell.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
        >>> model[0].router_jitter_noise = 0.02
        >>> [(source.path, source.attribute, source.value) for source in noise_sources(model)]
        [('0', 'router_jitter_noise', 0.02), ('1', 'p', 0.1)]
    """
    return [source for path, module in model.named_modules() for source in _of_module(path, module)]


def _of_module(path: str, module: nn.Module) -> Iterator[NoiseSource]:
    is_noise = isinstance(module, _DropoutNd) or _NAME.search(type(module).__name__) is not None
    for name, value in vars(module).items():
        if not (_NAME.search(name) or (is_noise and name in _NAMES_IN_A_LAYER)):
            continue
        if isinstance(value, dict):
            yield from (NoiseSource(module, path, name, own, key) for key, own in value.items() if _is_noise(own))
        elif _is_noise(value):
            yield NoiseSource(module, path, name, float(value))


def _is_noise(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and value > 0


def named(sources: Iterable[NoiseSource]) -> str:
    """The sources in words, each name and value once.

    Example:
        >>> named(noise_sources(nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.1), nn.Dropout(0.2))))
        'p = 0.1 (2 layers), p = 0.2'
    """
    counts = Counter(f"{source.label} = {source.value:g}" for source in sources)
    shown = [f"{name} ({count} layers)" if count > 1 else name for name, count in counts.items()]
    more = [f"{len(shown) - _LIST_SIZE} more"] if len(shown) > _LIST_SIZE else []
    return ", ".join(shown[:_LIST_SIZE] + more)


# ---- switching it off -----------------------------------------------------------------------------------------------


def switch_off(model: nn.Module) -> list[NoiseSource]:
    """Set the noise of a model to 0, wherever evaluation mode does not depend on the number.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.

    Returns:
        What was switched off; numbers of the configuration have it as their owner.
    """
    logits = _evaluated(model)
    found = _set_to_zero(noise_sources(model), logits)
    if numbers_of(model) and _is_random(model):
        found += _hide(model, logits)
    return found


def _set_to_zero(sources: list[NoiseSource], evaluated: Callable[[], Tensor]) -> list[NoiseSource]:
    """Set layers of dropout to 0, and those numbers by name that evaluation mode does not depend on."""
    layers = [source for source in sources if source.is_layer]
    groups: dict[str, list[NoiseSource]] = {}
    for source in sources:
        if not source.is_layer:
            groups.setdefault(source.attribute, []).append(source)
    for source in layers:
        source.set(0.0)
    found = layers
    before = evaluated() if groups else None
    for group in groups.values():
        if before is not None and all(_is_same(_with(value, group, evaluated), before) for value in (_DRASTIC, 0.0)):
            found += group
            continue
        for source in group:
            source.set(source.value)
    return found


def _with(value: float, sources: Iterable[NoiseSource], evaluated: Callable[[], Tensor]) -> Tensor:
    for source in sources:
        source.set(value)
    return evaluated()


def _hide(model: nn.Module, evaluated: Callable[[], Tensor]) -> list[NoiseSource]:
    """Give the modules below the model a copy of their configurations without noise."""
    tops = (model, causal_lm(model))
    readers = [module for module in model.modules() if module not in tops and "config" in vars(module)]
    before, configs = evaluated(), [module.config for module in readers]
    quiet = copy.deepcopy({id(config): config for config in configs})
    hidden = [source for config in quiet.values() for source in numbers_of_config(config)]
    for module, config in zip(readers, configs, strict=True):
        module.config = quiet[id(config)]
    is_free = all(_is_same(_with(value, hidden, evaluated), before) for value in (_DRASTIC, 0.0))
    if is_free and not _is_random(model):
        return numbers_of(model)
    for module, config in zip(readers, configs, strict=True):
        module.config = config
    return []


def numbers_of(model: nn.Module) -> list[NoiseSource]:
    """The noise that the configuration of a model names, whether or not its modules use it."""
    config = getattr(causal_lm(model), "config", None)
    return [] if config is None else numbers_of_config(config.get_text_config())


def numbers_of_config(config: Any) -> list[NoiseSource]:
    """The noise that a text configuration names."""
    return [
        NoiseSource(config, "config", name, value)
        for name, value in vars(config).items()
        if _NAME.search(name) and _is_noise(value)
    ]


def _evaluated(model: nn.Module) -> Callable[[], Tensor]:
    """The model's states of a few tokens in evaluation mode."""

    def states() -> Tensor:
        with in_mode(model, training=False):
            return _states(model)

    return states


def _is_random(model: nn.Module) -> bool:
    """Whether two passes in training mode differ."""
    with in_mode(model, training=True), random_state_kept(model):
        return not _is_same(_states(model), _states(model))


@torch.no_grad()
def _states(model: nn.Module) -> Tensor:
    """The last hidden states of a few tokens."""
    embeddings = causal_lm(model).get_input_embeddings().weight
    ids = torch.arange(16, device=embeddings.device)[None] % len(embeddings)
    return last_hidden_states(model, ids, torch.ones_like(ids))


def _is_same(states: Tensor, other: Tensor) -> bool:
    return bool((states - other).abs().max() <= 1e-5 * other.abs().max())


@contextmanager
def random_state_kept(model: nn.Module) -> Iterator[None]:
    """Draw random numbers of a model without a trace: afterwards torch's generators are as before."""
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
