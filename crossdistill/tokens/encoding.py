"""Token ids together with where each of them ends in the bytes that were encoded."""

from typing import NamedTuple

import numpy as np


class Encoding(NamedTuple):
    """Token ids of some bytes, and the byte offset at which each token ends.

    ``ids[k]`` is an int64 token id, ``ends[k]`` the offset (bytes, int64) in the input at which token k ends.
    ``ends`` never decreases and its last value is the number of bytes. It repeats a value only where the
    tokenizer's normaliser rewrote a character that several tokens then share: no byte of the input is the
    end of the earlier ones.
    """

    ids: np.ndarray
    ends: np.ndarray
