"""A pair of models before money is spent on it: what their tokenizers and configurations tell."""

from crossdistill.inspection.documents import Document, corpus
from crossdistill.inspection.measure import Measure, minimum_coverage, promised_coverage
from crossdistill.inspection.model_info import Side
from crossdistill.inspection.pair import Inspection, inspect_pair

__all__ = [
    "Document",
    "Inspection",
    "Measure",
    "Side",
    "corpus",
    "inspect_pair",
    "minimum_coverage",
    "promised_coverage",
]
