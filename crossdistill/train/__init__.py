"""Training with TRL: the trainer, its configuration, and how rollouts become losses.

The names below are loaded when they are first asked for: TRL takes seconds to import, and `crossdistill inspect` reads
this layer's checks without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossdistill.train.config import PRESETS, CrossTokenizerConfig
    from crossdistill.train.trainer import CrossTokenizerTrainer

_HOMES = {"PRESETS": "config", "CrossTokenizerConfig": "config", "CrossTokenizerTrainer": "trainer"}

__all__ = ["PRESETS", "CrossTokenizerConfig", "CrossTokenizerTrainer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
