"""Training on TRL: the trainer, its configuration, whole runs and the SFT warm start."""

from crossdistill.train.config import PRESETS, CrossTokenizerConfig
from crossdistill.train.trainer import CrossTokenizerTrainer

__all__ = ["PRESETS", "CrossTokenizerConfig", "CrossTokenizerTrainer"]
