"""The boundaries of TRL's GOLD for the same student ids, with the offsets that it computes itself."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from tests.matrix.loading import Real
from tests.matrix.truth import Rewriter


@dataclass
class GoldScore:
    """Counts of boundaries and responses.

    Attributes:
        true: true boundaries in the responses that GOLD accepts.
        found: boundaries at which both sides have covered the same bytes.
        wrong: other boundaries.
        refused: responses that GOLD refuses.
    """

    true: int = 0
    found: int = 0
    wrong: int = 0
    refused: int = 0

    def add(self, other: "GoldScore") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Gold:
    """GOLD's aligner between any two of the tokenizers, by name."""

    def __init__(self, reals: dict[str, Real], rewriters: dict[str, Rewriter]):
        self._reals, self._rewriters = reals, rewriters
        self._pieces = {name: _with_texts_of_added_tokens(real) for name, real in reals.items()}
        self._teacher_side = lru_cache(maxsize=4096)(self._encode)

    def score(self, student: str, ids: Sequence[int], data: bytes, teacher: str) -> GoldScore:
        """The boundaries that GOLD considers common, for the sampled `ids` of `data`."""
        from trl.experimental.gold.gold_trainer import ULDLoss

        fast = self._reals[student].fast
        if fast is None or self._reals[teacher].fast is None:
            return GoldScore(refused=1)
        text = fast.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        side = self._teacher_side(teacher, text)
        if side is None:
            return GoldScore(refused=1)
        teacher_ids, offsets = side
        groups = ULDLoss._align_by_byte_offsets(_student_offsets(fast, ids), offsets)
        return self._score_groups(groups, student, ids, data, teacher, teacher_ids)

    def _encode(self, teacher: str, text: str) -> tuple[list[int], list[tuple[int, int]]] | None:
        """The teacher's ids and offsets, None if GOLD refuses the tokenizer or the text."""
        from trl.experimental.utils import encode_with_byte_offsets

        try:
            (side,) = encode_with_byte_offsets(self._reals[teacher].backend, [text], add_special_tokens=False)
        except (NotImplementedError, ValueError):
            return None
        return side

    def _score_groups(self, groups, student, ids, data, teacher, teacher_ids) -> GoldScore:
        """Count the group ends at which the bytes of both sides' tokens are the same."""
        rewrite = self._rewriters[teacher]
        is_plain = rewrite(data) == data
        ours = [0, *accumulate(len(self._pieces[student][index]) for index in ids)]
        pieces = [self._pieces[teacher][index] for index in teacher_ids]
        joined, theirs = b"".join(pieces), [0, *accumulate(map(len, pieces))]
        agreed = next(
            (k for k, (a, b) in enumerate(zip(data, joined, strict=False)) if a != b), min(len(data), len(joined))
        )
        result = GoldScore()
        for student_group, teacher_group in zip(*groups, strict=True):
            ours_end = ours[student_group[-1] + 1] if student_group else ours[-1]
            theirs_end = theirs[teacher_group[-1] + 1] if teacher_group else theirs[-1]
            is_right = ours_end == theirs_end <= agreed if is_plain else rewrite(data[:ours_end]) == joined[:theirs_end]
            result.found += is_right
            result.wrong += not is_right
        return result


def _with_texts_of_added_tokens(real: Real) -> list[bytes]:
    """The bytes of every id, and the names of special tokens, which GOLD's teacher recognises in text."""
    pieces = list(real.vocab.pieces)
    added = real.backend.get_added_tokens_decoder() if real.backend else {}
    for index, token in added.items():
        pieces[index] = pieces[index] or token.content.encode("utf-8")
    return pieces


def _student_offsets(fast, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The offsets of ``GOLDTrainer._maybe_add_completion_byte_offsets``."""
    from trl.experimental.utils import piece_byte_len

    sizes = (piece_byte_len(token) for token in fast.convert_ids_to_tokens(ids))
    return list(pairwise([0, *accumulate(sizes)]))
