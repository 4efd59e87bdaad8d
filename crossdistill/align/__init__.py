"""The finest chunks that two tokenisations of the same bytes share, and the count of supervised bytes. numpy only."""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.align.alignment import Alignment, Selection, align, align_around, align_around_batch, align_batch
    from crossdistill.align.coverage import Coverage, DropReason

__all__ = [
    "Alignment",
    "Coverage",
    "DropReason",
    "Selection",
    "align",
    "align_around",
    "align_around_batch",
    "align_batch",
]

__getattr__ = names_of(
    __name__,
    {
        "Alignment": "alignment",
        "Coverage": "coverage",
        "DropReason": "coverage",
        "Selection": "alignment",
        "align": "alignment",
        "align_around": "alignment",
        "align_around_batch": "alignment",
        "align_batch": "alignment",
    },
)
