"""Training objectives, one file a method, chosen by name."""

from crossdistill.objectives.base import LossSum, Objective, Signal
from crossdistill.objectives.registry import available, get
from crossdistill.objectives.shared.inputs import Evidence, States, StudentTokens, Supervision, TeacherTokens
from crossdistill.objectives.shared.vocab_pair import VocabPair

__all__ = [
    "Evidence",
    "LossSum",
    "Objective",
    "Signal",
    "States",
    "StudentTokens",
    "Supervision",
    "TeacherTokens",
    "VocabPair",
    "available",
    "get",
]
