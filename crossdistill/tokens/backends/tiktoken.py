"""tiktoken encodings and Mistral's tekken, whose entries are bytes with a rank."""

from typing import Any

from crossdistill.tokens.source import ByteSource, VocabEntries, byte_ids_of


class TiktokenSource(ByteSource):
    """A ``tiktoken.Encoding``.

    Args:
        encoding: the encoding.
        offset: number of control tokens before its ids in the model's vocabulary.
    """

    def __init__(self, encoding: Any, offset: int = 0):
        self._encoding = encoding
        self._offset = offset
        pieces = [b""] * (offset + encoding.n_vocab)
        for token_id in range(encoding.n_vocab):
            if not encoding.is_special_token(token_id):
                pieces[offset + token_id] = _bytes_of(encoding, token_id)
        self.entries = VocabEntries("byte_level_bpe", pieces, byte_ids_of(pieces))

    def ids(self, text: str) -> list[int]:
        return [token_id + self._offset for token_id in self._encoding.encode_ordinary(text)]

    def merged(self, data: bytes) -> list[int]:
        # the only call that merges bytes that are not text; the caller checks the bytes of the result
        return [token_id + self._offset for token_id in self._encoding._encode_single_piece(data)]


def _bytes_of(encoding: Any, token_id: int) -> bytes:
    try:
        data: bytes = encoding.decode_single_token_bytes(token_id)
    except KeyError:
        return b""  # an unused id
    return data
