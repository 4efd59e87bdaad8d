"""The sampled response as bytes, with its stop token told apart from its text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class Response:
    """What a student sampled, exactly.

    Attributes:
        ids: the sampled token ids, int64 [num tokens], as they came (never re-tokenised).
        text_positions: positions in `ids` of the tokens that carry bytes, ascending int64.
        stop_position: position of the stop token if the student really emitted one, else None (truncated).
        data: the bytes of the text tokens.
    """

    ids: np.ndarray
    text_positions: np.ndarray
    stop_position: int | None
    data: bytes

    @property
    def text_ids(self) -> np.ndarray:
        return self.ids[self.text_positions]

    @property
    def num_special(self) -> int:
        """Control tokens in the middle of the response: they carry no bytes, so no teacher token matches them."""
        return len(self.ids) - len(self.text_positions) - (self.stop_position is not None)

    @property
    def special_ids(self) -> np.ndarray:
        """The ids of these control tokens."""
        body = self.ids if self.stop_position is None else self.ids[: self.stop_position]
        return np.delete(body, self.text_positions)


def split_response(ids: Sequence[int], vocab: ByteVocab, stop_ids: Collection[int]) -> Response:
    """Tell text, stop token and other special tokens of a sampled response apart.

    The last token is the stop token iff it is one of `stop_ids` and carries no bytes; a truncated response has none. A
    response that a token with bytes ended (a line break, say) has it as text like any other.
    """
    array = np.asarray(ids, dtype=np.int64)
    stops = len(array) > 0 and int(array[-1]) in stop_ids and vocab.lengths[array[-1]] == 0
    stop_position = len(array) - 1 if stops else None
    body = array if stop_position is None else array[:-1]
    text_positions = np.flatnonzero(vocab.lengths[body] > 0)
    return Response(array, text_positions, stop_position, vocab.decode(body[text_positions]))
