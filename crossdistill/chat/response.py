"""A sampled response as bytes, with its stop token separate from its text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class Response:
    """A response exactly as the student sampled it.

    Attributes:
        ids: int64 [num tokens], the sampled token ids, never re-tokenised.
        text_positions: int64, positions in `ids` of the tokens that carry bytes, ascending.
        stop_position: position of the stop token in `ids`, None if the student did not emit one (truncated).
        data: the bytes of the text tokens.

    Example:
        >>> response = Response(np.array([104, 105, 256]), np.array([0, 1]), stop_position=2, data=b"hi")
        >>> response.text_ids.tolist(), response.num_special
        ([104, 105], 0)
    """

    ids: np.ndarray
    text_positions: np.ndarray
    stop_position: int | None
    data: bytes

    @property
    def text_ids(self) -> np.ndarray:
        """The ids of the tokens that carry bytes."""
        return self.ids[self.text_positions]

    @property
    def num_special(self) -> int:
        """Number of control tokens in the middle of the response: without bytes, no teacher token matches them."""
        return len(self.ids) - len(self.text_positions) - (self.stop_position is not None)

    @property
    def special_ids(self) -> np.ndarray:
        """The ids of these control tokens."""
        body = self.ids if self.stop_position is None else self.ids[: self.stop_position]
        return np.delete(body, self.text_positions)


def split_response(ids: Sequence[int], vocab: ByteVocab, stop_ids: Collection[int]) -> Response:
    """Split a sampled response into text, stop token and other special tokens.

    The last token is the stop token iff it is one of `stop_ids` and carries no bytes; a truncated response has none. A
    token with bytes that ended the response (a line break, say) is text like any other.

    Args:
        ids: sampled token ids; may be empty.
        vocab: the student's vocabulary.
        stop_ids: ids that end a response (:func:`crossdistill.chat.stop_ids`).

    Raises:
        InputError: an id is outside the vocabulary.

    Example:
        >>> from crossdistill.tokens import World
        >>> vocab = ByteVocab.from_tokenizer(World({byte: bytes([byte]) for byte in range(256)}), size=257)
        >>> response = split_response([104, 105, 256], vocab, stop_ids=[256])
        >>> response.data, response.stop_position
        (b'hi', 2)
    """
    array = np.asarray(ids, dtype=np.int64)
    stops = len(array) > 0 and int(array[-1]) in stop_ids and vocab.lengths[array[-1]] == 0
    stop_position = len(array) - 1 if stops else None
    body = array if stop_position is None else array[:-1]
    text_positions = np.flatnonzero(vocab.lengths[body] > 0)
    return Response(array, text_positions, stop_position, vocab.decode(body[text_positions]))
