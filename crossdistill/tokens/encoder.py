"""Encodes any bytes in the tokens of a vocabulary, and locates the end of each token in them."""

import re
from typing import cast

import numpy as np

from crossdistill.tokens.encoding import NO_SPANS, Encoding
from crossdistill.tokens.normalisation import ends_in_original
from crossdistill.tokens.source import CharacterSource, Source, TokenSpans

# this error handler decodes bytes that are not valid UTF-8 to the code points of _INVALID_RUN
_ESCAPE = "surrogateescape"
_INVALID_RUN = re.compile("([\udc80-\udcff]+)")
_EMPTY = Encoding(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


class Encoder:
    """Encodes text with the source's own tokenizer, and bytes that are not text with the source's byte entries.

    Args:
        source: the tokenizer.
        lengths: int64 [num ids], bytes of each id; at least as many as the source has entries.

    Attributes:
        unencodable: the byte values that have no entry, ascending. Empty if the entries are characters: what they
            cannot encode depends on the text, not on single bytes.
    """

    def __init__(self, source: Source, lengths: np.ndarray):
        self._source = source
        self._entries = source.entries
        self._lengths = lengths
        missing = [byte for byte, token_id in enumerate(self._entries.byte_ids) if token_id is None]
        self.unencodable = bytes(missing) if self._entries.encodes_any_bytes else b""
        self._unencodable_run = re.compile(b"[" + re.escape(self.unencodable) + b"]+") if self.unencodable else None

    def __call__(self, data: bytes) -> Encoding:
        spans = [match.span() for match in self._unencodable_run.finditer(data)] if self._unencodable_run else []
        if not spans:
            encoding = self._encode_encodable(data)[1]
            return encoding._replace(unencodable_spans=_merge_touching(encoding.unencodable_spans))
        parts, start = [], 0
        for span_start, span_end in [*spans, (len(data), len(data))]:
            parts += [self._encode_encodable(data[start:span_start]), _unencodable(span_end - span_start)]
            start = span_end
        return _concatenate(parts)

    def _encode_encodable(self, data: bytes) -> tuple[int, Encoding]:
        runs = _INVALID_RUN.split(data.decode("utf-8", _ESCAPE))
        parts = []
        for index, run in enumerate(runs):  # valid and invalid runs alternate; the first is valid, or empty
            if run:
                raw = run.encode("utf-8", _ESCAPE)
                parts.append((len(raw), self._encode_text(run, raw) if index % 2 == 0 else self._encode_bytes(raw)))
        return len(data), _concatenate(parts)

    def _encode_text(self, text: str, data: bytes) -> Encoding:
        ids = np.array(self._source.ids(text), dtype=np.int64)
        decoded = self._decode(ids)
        if decoded == data:
            return Encoding(ids, np.cumsum(self._lengths[ids]))
        if self._lengths[ids].all() and decoded and decoded == self._source.normalise(text):
            return Encoding(ids, ends_in_original(text, self._source.normalise, np.cumsum(self._lengths[ids])))
        parts = self._source.segments(text)
        if len(parts) > 1:  # a normaliser joins nothing across an added token
            pairs = [(part, part.encode("utf-8")) for part in parts]
            return _concatenate([(len(raw), self._encode_text(part, raw)) for part, raw in pairs])
        if self._entries.encodes_any_bytes:
            return self._encode_bytes(data)  # a byte without a token would get no signal
        return self._encode_characters(text, data, cast(CharacterSource, self._source).token_spans(text))

    def _encode_bytes(self, data: bytes) -> Encoding:
        """Any bytes as byte entries of the vocabulary, merged as far as its merges go."""
        if not self._entries.encodes_any_bytes:
            return _unencodable(len(data))[1]
        ids = np.array(self._source.merged(data), dtype=np.int64)
        if self._decode(ids) != data:
            ids = np.array([self._entries.byte_ids[byte] for byte in data], dtype=np.int64)
        return Encoding(ids, np.cumsum(self._lengths[ids]))

    def _encode_characters(self, text: str, data: bytes, tokens: TokenSpans) -> Encoding:
        """Tokens whose bytes are not the whole text: some are unknown, or white space is left out.

        White space between two tokens belongs to the second one, at the end of the text to the last. Other bytes
        without a token, and those of an unknown token, are an unencodable span, which takes all tokens that end there.
        """
        normal = self._source.normalise(text)
        if not len(tokens.ids) or not normal:
            return _unencodable(len(data))[1]
        offsets = ends_in_original(text, self._source.normalise, np.arange(len(normal) + 1))
        borders = np.append(0, np.flatnonzero(np.diff(offsets) > 0) + 1)
        next_borders = borders[np.searchsorted(borders, tokens.ends)]
        next_starts = np.append(tokens.starts[1:], len(normal))
        # an ideograph around which the normaliser puts spaces ends with the space after it; a token that ends inside a
        # rewritten character ends where the token before it does
        ends = np.maximum.accumulate(np.where(next_borders <= next_starts, offsets[next_borders], 0))
        ends[-1] = len(data)
        gaps = zip(np.append(0, tokens.ends[:-1]).tolist(), tokens.starts.tolist(), strict=True)
        skipped = np.array([normal[end:start].strip() != b"" for end, start in gaps])
        skipped[-1] |= normal[tokens.ends[-1] :].strip() != b""
        is_lost = (self._lengths[tokens.ids] == 0) | skipped
        return _mark_unencodable(tokens.ids, ends, is_lost)

    def _decode(self, ids: np.ndarray) -> bytes:
        pieces = self._entries.pieces
        return b"".join([pieces[token_id] for token_id in ids.tolist()])


def _mark_unencodable(ids: np.ndarray, ends: np.ndarray, is_lost: np.ndarray) -> Encoding:
    """Turn lost tokens into unencodable spans; tokens that share the bytes up to one end are lost together."""
    closing = np.flatnonzero(np.diff(ends, prepend=0) > 0)
    group = np.searchsorted(closing, np.arange(len(ids)))
    lost_groups = np.unique(group[is_lost])
    starts = np.append(0, ends[closing])[lost_groups]
    spans = np.stack([starts, ends[closing][lost_groups]], axis=1)
    return Encoding(ids, ends, spans, np.flatnonzero(np.isin(group, lost_groups)))


def _unencodable(size: int) -> tuple[int, Encoding]:
    spans = NO_SPANS if size == 0 else np.array([[0, size]], dtype=np.int64)
    return size, _EMPTY._replace(unencodable_spans=spans)


def _concatenate(parts: list[tuple[int, Encoding]]) -> Encoding:
    """Concatenate encodings of (number of bytes, encoding); unencodable spans that touch become one."""
    if len(parts) == 1:
        return parts[0][1]
    offset = num_tokens = 0
    columns: list[tuple[np.ndarray, ...]] = [tuple(_EMPTY)]
    for size, (ids, ends, spans, positions) in parts:
        columns.append((ids, ends + offset, spans + offset, positions + num_tokens))
        offset += size
        num_tokens += len(ids)
    ids, ends, spans, positions = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Encoding(ids, ends, _merge_touching(spans), positions)


def _merge_touching(spans: np.ndarray) -> np.ndarray:
    if len(spans) < 2:
        return spans
    is_new = np.append(True, spans[1:, 0] > spans[:-1, 1])
    is_last = np.append(is_new[1:], True)
    return np.stack([spans[is_new, 0], spans[is_last, 1]], axis=1)
