"""Random vocabularies over bytes, and ways to tokenise a text with them. One `rng` determines everything."""

from collections.abc import Callable
from random import Random

Pieces = list[bytes]
MAX_PIECE_BYTES = 6


def random_bytes(rng: Random, alphabet: bytes, num_bytes: int) -> bytes:
    return bytes(rng.choices(alphabet, k=num_bytes))


def random_vocabulary(rng: Random, alphabet: bytes) -> Pieces:
    """Every byte of the alphabet, then up to a dozen longer pieces; their order is that of the merges."""
    longer = [random_bytes(rng, alphabet, rng.randint(2, MAX_PIECE_BYTES)) for _ in range(rng.randint(0, 12))]
    return [bytes([byte]) for byte in alphabet] + longer


def greedy(data: bytes, vocabulary: Pieces, rng: Random) -> Pieces:
    """The longest piece at each position; a byte outside the vocabulary is a piece of its own."""
    pieces = sorted(vocabulary, key=len, reverse=True)
    cut: Pieces = []
    start = 0
    while start < len(data):
        matching = (piece for piece in pieces if data.startswith(piece, start))
        cut.append(next(matching, data[start : start + 1]))
        start += len(cut[-1])
    return cut


def merges(data: bytes, vocabulary: Pieces, rng: Random) -> Pieces:
    """Merge neighbours that form an entry, the earliest entry first, as BPE does."""
    rank = {piece: index for index, piece in reversed(list(enumerate(vocabulary)))}
    pieces = [data[index : index + 1] for index in range(len(data))]
    while True:
        ranks = [rank.get(pieces[k] + pieces[k + 1], len(vocabulary)) for k in range(len(pieces) - 1)]
        best = min(ranks, default=len(vocabulary))
        if best == len(vocabulary):
            return pieces
        where = ranks.index(best)
        pieces[where : where + 2] = [pieces[where] + pieces[where + 1]]


def anyhow(data: bytes, vocabulary: Pieces, rng: Random) -> Pieces:
    """At random, into pieces that may be outside the vocabulary: a student may sample anything."""
    cuts = [cut for cut in range(1, len(data)) if rng.random() < 0.5]
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True) if stop > start]


SEGMENTATIONS: dict[str, Callable[[bytes, Pieces, Random], Pieces]] = {
    "greedy": greedy,
    "merges": merges,
    "anyhow": anyhow,
}
