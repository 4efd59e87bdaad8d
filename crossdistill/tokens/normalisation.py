"""Where tokens end in the original bytes when the tokenizer's normaliser rewrote the text."""

import unicodedata
from collections.abc import Callable

import numpy as np

Normalise = Callable[[str], bytes]


def ends_in_original(text: str, normalise: Normalise, ends: np.ndarray) -> np.ndarray:
    """Map byte ends in the normalised text to byte ends in ``text.encode()``.

    The text is cut into clusters that the normaliser treats on their own. A token that ends at a cluster's border
    ends there; one that ends inside an unchanged cluster ends at the same byte of it. One that ends inside a
    rewritten cluster has no end in the input: it repeats the end of the token before, and its bytes go to the token
    that closes the cluster. Every byte of the input thus lies in a token, and no false boundary is made.

    Args:
        normalise: text -> the bytes that the tokens of that text spell.
        ends: int64 [num tokens], cumulative bytes of the tokens; the last one is ``len(normalise(text))``.
    """
    clusters = _clusters(text, normalise)
    original_ends = np.cumsum([len(cluster.encode("utf-8")) for cluster in clusters])
    normal_ends = np.cumsum([len(normalise(cluster)) for cluster in clusters])
    mapped = np.full(int(normal_ends[-1]) + 1, -1, dtype=np.int64)
    mapped[0] = 0
    start = normal_start = 0
    for cluster, end, normal_end in zip(clusters, original_ends, normal_ends, strict=True):
        if cluster.encode("utf-8") == normalise(cluster):
            mapped[normal_start : normal_end + 1] = np.arange(start, end + 1)
        mapped[normal_end] = end  # a cluster that vanishes goes to the token before it
        start, normal_start = int(end), int(normal_end)
    return np.maximum.accumulate(np.maximum(mapped[ends], 0))


def _clusters(text: str, normalise: Normalise) -> list[str]:
    """The finest cut of `text` that the normaliser respects, or the whole text where it respects none."""
    clusters = [text[0]]
    for char in text[1:]:
        joint = clusters[-1] + char
        if unicodedata.combining(char) or normalise(joint) != normalise(clusters[-1]) + normalise(char):
            clusters[-1] = joint
        else:
            clusters.append(char)
    separable = b"".join(map(normalise, clusters)) == normalise(text)
    return clusters if separable else [text]
