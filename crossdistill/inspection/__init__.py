"""A pair of models before money is spent on it: what their tokenizers and configurations tell."""

from crossdistill.inspection.documents import Document, corpus
from crossdistill.inspection.measure import Measure, expected_coverage, minimum_coverage
from crossdistill.inspection.model_info import ModelInfo
from crossdistill.inspection.pair import Inspection, inspect_pair

__all__ = [
    "Document",
    "Inspection",
    "Measure",
    "ModelInfo",
    "corpus",
    "expected_coverage",
    "inspect_pair",
    "minimum_coverage",
]
