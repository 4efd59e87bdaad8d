"""Slow obvious twins of :mod:`crossdistill.tokens.normalisation`: by definition, and character by character."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence

Normalise = Callable[[str], bytes]


def true_borders(text: str, normalise: Normalise) -> set[tuple[int, int]]:
    """(bytes of the text, bytes of the normalised text) wherever the normaliser treats the text before and
    the text after on its own."""
    whole = normalise(text)
    return {
        (len(text[:cut].encode()), len(normalise(text[:cut])))
        for cut in range(len(text) + 1)
        if normalise(text[:cut]) + normalise(text[cut:]) == whole
    }


def ends_in_original(text: str, normalise: Normalise, ends: Sequence[int]) -> list[int]:
    """The function of that name, on clusters that grow from left to right; equally fine or coarser."""
    mapped, start, normal_start = {0: 0}, 0, 0
    for cluster in _clusters(text, normalise):
        data, normal = cluster.encode(), normalise(cluster)
        if data == normal:
            mapped.update({normal_start + byte: start + byte for byte in range(len(data))})
        start, normal_start = start + len(data), normal_start + len(normal)
        mapped[normal_start] = start  # a deleted cluster goes to the token before it
    return list(_running_maximum(mapped.get(end, 0) for end in ends))


def _clusters(text: str, normalise: Normalise) -> list[str]:
    clusters = [text[0]]
    for char in text[1:]:
        joint = clusters[-1] + char
        if unicodedata.combining(char) or normalise(joint) != normalise(clusters[-1]) + normalise(char):
            clusters[-1] = joint
        else:
            clusters.append(char)
    separable = b"".join(map(normalise, clusters)) == normalise(text)
    return clusters if separable else [text]


def _running_maximum(values: Iterator[int]) -> Iterator[int]:
    largest = 0
    for value in values:
        largest = max(largest, value)
        yield largest
