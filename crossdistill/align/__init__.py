"""The finest chunks that two tokenisations of the same bytes share, and the count of supervised bytes. numpy only."""

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
