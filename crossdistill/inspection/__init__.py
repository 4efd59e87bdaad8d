"""Inspection of a pair of models before a run: what their tokenizers and configurations say, without weights."""

from typing import TYPE_CHECKING, Any

from crossdistill.lazy import names_of

if TYPE_CHECKING:
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

_FORMER = {"Side": "ModelInfo", "promised_coverage": "expected_coverage"}
_load = names_of(
    __name__,
    {
        "Document": "documents",
        "Inspection": "pair",
        "Measure": "measure",
        "ModelInfo": "model_info",
        "corpus": "documents",
        "expected_coverage": "measure",
        "inspect_pair": "pair",
        "minimum_coverage": "measure",
    },
)


def __getattr__(name: str) -> Any:
    """A name of this package, or a former one of it."""
    return _load(_FORMER.get(name, name))
