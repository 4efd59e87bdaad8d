"""Training objectives: one file per method, chosen by name.

A new method is a subclass of :class:`Objective` in a file of this folder and one line in ``names.py``; one that does
not come with the package is named by its import path.
"""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.objectives.base import LossSum, Objective, PairMeasure
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
    "PairMeasure",
    "Signal",
    "StudentTokens",
    "TeacherTokens",
    "VocabPair",
    "available",
    "get",
]

__getattr__ = names_of(
    __name__,
    {
        "AlignedBatch": "shared.inputs",
        "HiddenStates": "base",
        "LossInputs": "shared.inputs",
        "LossSum": "base",
        "Objective": "base",
        "PairMeasure": "base",
        "Signal": "base",
        "StudentTokens": "shared.inputs",
        "TeacherTokens": "shared.inputs",
        "VocabPair": "shared.vocab_pair",
        "available": "registry",
        "get": "registry",
    },
)
