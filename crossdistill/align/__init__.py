"""The finest chunks that two tokenisations of the same bytes share. numpy only."""

from crossdistill.align.alignment import Alignment, align
from crossdistill.align.coverage import Coverage, DropReason

__all__ = ["Alignment", "Coverage", "DropReason", "align"]
