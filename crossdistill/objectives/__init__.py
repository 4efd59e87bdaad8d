"""Training objectives, one file a method, chosen by name."""

from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.registry import available, get
from crossdistill.objectives.shared.inputs import Evidence, StudentTokens, Supervision, TeacherTokens
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops.states import States
from crossdistill.signal import Signal

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
