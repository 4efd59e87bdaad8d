"""Any bytes in the tokens of a vocabulary, and where each token ends in them."""

import re
from typing import cast

import numpy as np

from crossdistill.tokens.encoding import NO_HOLES, Encoding
from crossdistill.tokens.normalisation import ends_in_original
from crossdistill.tokens.source import CharacterSource, Places, Source

# bytes that are not valid UTF-8 come out of this way of decoding as these code points
_ESCAPE = "surrogateescape"
_INVALID_RUN = re.compile("([\udc80-\udcff]+)")
_EMPTY = Encoding(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


class Encoder:
    """Encodes text as its source reads it, and what is no text by the source's byte entries.

    Args:
        lengths: int64 [at least the source's entries], bytes of each.

    Attributes:
        unencodable: the byte values that no entry spells, ascending; empty where the entries are characters, because
            what these cannot spell is told by the text and not by single bytes.
    """

    def __init__(self, source: Source, lengths: np.ndarray):
        self._source = source
        self._entries = source.entries
        self._lengths = lengths
        missing = [byte for byte, token_id in enumerate(self._entries.byte_ids) if token_id is None]
        self.unencodable = bytes(missing) if self._entries.spells_bytes else b""
        self._hole = re.compile(b"[" + re.escape(self.unencodable) + b"]+") if self.unencodable else None

    def __call__(self, data: bytes) -> Encoding:
        spans = [match.span() for match in self._hole.finditer(data)] if self._hole else []
        parts, start = [], 0
        for hole_start, hole_end in [*spans, (len(data), len(data))]:
            parts += [self._spellable(data[start:hole_start]), _hole_of(hole_end - hole_start)]
            start = hole_end
        return _joined(parts)

    def _spellable(self, data: bytes) -> tuple[int, Encoding]:
        runs = _INVALID_RUN.split(data.decode("utf-8", _ESCAPE))
        parts = []
        for index, run in enumerate(runs):  # valid and invalid runs alternate, the first is valid (or empty)
            if run:
                raw = run.encode("utf-8", _ESCAPE)
                parts.append((len(raw), self._text(run, raw) if index % 2 == 0 else self._spelled(raw)))
        return len(data), _joined(parts)

    def _text(self, text: str, data: bytes) -> Encoding:
        ids = np.array(self._source.ids(text), dtype=np.int64)
        spelled = self._decode(ids)
        if spelled == data:
            return Encoding(ids, np.cumsum(self._lengths[ids]))
        if self._lengths[ids].all() and spelled and spelled == self._source.normalise(text):
            return Encoding(ids, ends_in_original(text, self._source.normalise, np.cumsum(self._lengths[ids])))
        parts = self._source.segments(text)
        if len(parts) > 1:  # a normaliser does not join what stands on the two sides of an added token
            raws = [part.encode("utf-8") for part in parts]
            return _joined([(len(raw), self._text(part, raw)) for part, raw in zip(parts, raws, strict=True)])
        if self._entries.spells_bytes:
            return self._spelled(data)  # a byte that no token stands for would get no signal
        return self._placed(text, data, cast(CharacterSource, self._source).places(text))

    def _spelled(self, data: bytes) -> Encoding:
        """Any bytes as byte entries of the vocabulary, merged as far as its merges go."""
        if not self._entries.spells_bytes:
            return _hole_of(len(data))[1]
        ids = np.array(self._source.merged(data), dtype=np.int64)
        if self._decode(ids) != data:
            ids = np.array([self._entries.byte_ids[byte] for byte in data], dtype=np.int64)
        return Encoding(ids, np.cumsum(self._lengths[ids]))

    def _placed(self, text: str, data: bytes, places: Places) -> Encoding:
        """Tokens that do not spell all of the text: unknown ones, and those that leave white space out.

        White space between two tokens belongs to the second one, at the end of the text to the last. Other bytes
        without a token, and those of an unknown token, are a hole with all the tokens that end there.
        """
        normal = self._source.normalise(text)
        if not len(places.ids) or not normal:
            return _hole_of(len(data))[1]
        offsets = ends_in_original(text, self._source.normalise, np.arange(len(normal) + 1))
        borders = np.append(0, np.flatnonzero(np.diff(offsets) > 0) + 1)
        next_borders = borders[np.searchsorted(borders, places.ends)]
        next_starts = np.append(places.starts[1:], len(normal))
        # an ideograph that the normaliser sets between spaces ends with the space behind it; a token that ends within
        # a rewritten character ends where the one before it does
        ends = np.maximum.accumulate(np.where(next_borders <= next_starts, offsets[next_borders], 0))
        ends[-1] = len(data)
        gaps = zip(np.append(0, places.ends[:-1]).tolist(), places.starts.tolist(), strict=True)
        skipped = np.array([normal[end:start].strip() != b"" for end, start in gaps])
        skipped[-1] |= normal[places.ends[-1] :].strip() != b""
        is_lost = (self._lengths[places.ids] == 0) | skipped
        return _with_holes(places.ids, ends, is_lost)

    def _decode(self, ids: np.ndarray) -> bytes:
        pieces = self._entries.pieces
        return b"".join([pieces[token_id] for token_id in ids.tolist()])


def _with_holes(ids: np.ndarray, ends: np.ndarray, is_lost: np.ndarray) -> Encoding:
    """Tokens that share the bytes up to one end are lost together where one of them is lost."""
    closing = np.flatnonzero(np.diff(ends, prepend=0) > 0)
    group = np.searchsorted(closing, np.arange(len(ids)))
    lost_groups = np.unique(group[is_lost])
    starts = np.append(0, ends[closing])[lost_groups]
    holes = np.stack([starts, ends[closing][lost_groups]], axis=1)
    return Encoding(ids, ends, holes, np.flatnonzero(np.isin(group, lost_groups)))


def _hole_of(size: int) -> tuple[int, Encoding]:
    hole = NO_HOLES if size == 0 else np.array([[0, size]], dtype=np.int64)
    return size, _EMPTY._replace(holes=hole)


def _joined(parts: list[tuple[int, Encoding]]) -> Encoding:
    """Encodings of (number of bytes, encoding) one after the other; holes that touch are one."""
    if len(parts) == 1:
        return parts[0][1]
    offset = num_tokens = 0
    columns: list[tuple[np.ndarray, ...]] = [tuple(_EMPTY)]
    for size, encoding in parts:
        columns.append((encoding.ids, encoding.ends + offset, encoding.holes + offset, encoding.in_holes + num_tokens))
        offset += size
        num_tokens += len(encoding.ids)
    ids, ends, holes, in_holes = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Encoding(ids, ends, _merged(holes), in_holes)


def _merged(holes: np.ndarray) -> np.ndarray:
    if len(holes) < 2:
        return holes
    is_new = np.append(True, holes[1:, 0] > holes[:-1, 1])
    is_last = np.append(is_new[1:], True)
    return np.stack([holes[is_new, 0], holes[is_last, 1]], axis=1)
