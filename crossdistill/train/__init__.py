"""Training with TRL: the trainer and its configuration."""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.train.config import PRESETS, CrossTokenizerConfig
    from crossdistill.train.trainer import CrossTokenizerTrainer

__all__ = ["PRESETS", "CrossTokenizerConfig", "CrossTokenizerTrainer"]

__getattr__ = names_of(
    __name__, {"PRESETS": "config", "CrossTokenizerConfig": "config", "CrossTokenizerTrainer": "trainer"}
)
