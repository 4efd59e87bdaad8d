"""Token ids, and the byte at which each of them ends."""

from typing import NamedTuple

import numpy as np

NO_SPANS = np.zeros((0, 2), dtype=np.int64)
NO_POSITIONS = np.zeros(0, dtype=np.int64)
for _constant in (NO_SPANS, NO_POSITIONS):
    _constant.setflags(write=False)


class Encoding(NamedTuple):
    """Token ids of some bytes, and the byte offset at which each token ends.

    An unencodable span is a run of bytes that the vocabulary has no entry for. The tokenizer either skips such bytes or
    writes an unknown token for them.

    Attributes:
        ids: int64 [num tokens].
        ends: int64 [num tokens]; token k ends at byte ``ends[k]`` of the input. The ends never decrease, and the last
            one is the number of bytes, unless the input ends with bytes that were skipped. A value repeats only if the
            tokenizer's normaliser rewrote a character that several tokens then share: no byte of the input is the end
            of the earlier ones.
        unencodable_spans: int64 [num spans, 2], the (start, end) bytes of each unencodable span, ascending; no two
            touch.
        unencodable_positions: int64, the positions in `ids` of the tokens that lie in an unencodable span, ascending.

    Example:
        >>> Encoding(ids=np.array([7, 4]), ends=np.array([2, 3])).unencodable_spans.shape
        (0, 2)
    """

    ids: np.ndarray
    ends: np.ndarray
    unencodable_spans: np.ndarray = NO_SPANS
    unencodable_positions: np.ndarray = NO_POSITIONS
