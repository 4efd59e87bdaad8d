"""Token ids together with where each of them ends in the bytes that were encoded."""

from typing import NamedTuple

import numpy as np

NO_HOLES = np.zeros((0, 2), dtype=np.int64)
NO_TOKENS = np.zeros(0, dtype=np.int64)
for _constant in (NO_HOLES, NO_TOKENS):
    _constant.setflags(write=False)


class Encoding(NamedTuple):
    """Token ids of some bytes, and the byte offset at which each token ends.

    ``ids[k]`` is an int64 token id, ``ends[k]`` the offset (bytes, int64) in the input at which token k ends. ``ends``
    never decreases and its last value is the number of bytes, less a hole that comes last. It repeats a value only
    where the tokenizer's normaliser rewrote a character that several tokens then share: no byte of the input is the
    end of the earlier ones.

    ``holes`` are the runs of bytes that no entry of the vocabulary spells, (start, end), ascending and apart: int64
    [num holes, 2]. The tokenizer either leaves such bytes out, or writes an unknown token there: ``in_holes`` are the
    positions, int64, of the tokens that stand in a hole.
    """

    ids: np.ndarray
    ends: np.ndarray
    holes: np.ndarray = NO_HOLES
    in_holes: np.ndarray = NO_TOKENS
