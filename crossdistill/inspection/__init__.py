"""Inspection of a pair of models before a run: what their tokenizers and configurations say, without weights."""

from crossdistill.inspection.documents import Document, corpus
from crossdistill.inspection.measure import Measure, expected_coverage, minimum_coverage
from crossdistill.inspection.model_info import ModelInfo
from crossdistill.inspection.pair import Inspection, inspect_pair

# former names, kept importable
Side = ModelInfo
promised_coverage = expected_coverage

__all__ = [
    "Document",
    "Inspection",
    "Measure",
    "ModelInfo",
    "Side",
    "corpus",
    "expected_coverage",
    "inspect_pair",
    "minimum_coverage",
    "promised_coverage",
]
