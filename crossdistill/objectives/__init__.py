"""Training objectives, one file a method, chosen by name."""

from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.registry import available, get
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs, StudentTokens, TeacherTokens
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates
from crossdistill.signal import Signal

__all__ = [
    "AlignedBatch",
    "HiddenStates",
    "LossInputs",
    "LossSum",
    "Objective",
    "Signal",
    "StudentTokens",
    "TeacherTokens",
    "VocabPair",
    "available",
    "get",
]
