"""What TRL's GOLD makes of the same student ids, with the offsets that it computes itself."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from tests.matrix.loading import Real
from tests.matrix.truth import TokenNames


@dataclass
class GoldScore:
    """found: boundaries at which both sides have spelled the same bytes, of `true` ones in the responses that it takes.

    wrong: others. refused: responses.
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

    def __init__(self, reals: dict[str, Real], spellings: dict[str, TokenNames]):
        self._reals, self._spellings = reals, spellings
        self._pieces = {name: _with_texts_of_added_tokens(real) for name, real in reals.items()}
        self._teacher_side = lru_cache(maxsize=4096)(self._encode)

    def score(self, student: str, ids: Sequence[int], data: bytes, teacher: str) -> GoldScore:
        """The boundaries that GOLD takes for common ones, on the sampled `ids` that spell `data`."""
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
        return self._judge(groups, student, ids, data, teacher, teacher_ids)

    def _encode(self, teacher: str, text: str) -> tuple[list[int], list[tuple[int, int]]] | None:
        """The teacher's ids and offsets, None where GOLD refuses the tokenizer or the text."""
        from trl.experimental.utils import encode_with_byte_offsets

        try:
            (side,) = encode_with_byte_offsets(self._reals[teacher].backend, [text], add_special_tokens=False)
        except (NotImplementedError, ValueError):
            return None
        return side

    def _judge(self, groups, student, ids, data, teacher, teacher_ids) -> GoldScore:
        """Count the group ends at which the bytes of both sides' tokens are the same."""
        spelling = self._spellings[teacher]
        is_plain = spelling(data) == data
        ours = [0, *accumulate(len(self._pieces[student][index]) for index in ids)]
        pieces = [self._pieces[teacher][index] for index in teacher_ids]
        spelled, theirs = b"".join(pieces), [0, *accumulate(map(len, pieces))]
        agreed = next(
            (k for k, (a, b) in enumerate(zip(data, spelled, strict=False)) if a != b), min(len(data), len(spelled))
        )
        result = GoldScore()
        for student_group, teacher_group in zip(*groups, strict=True):
            ours_end = ours[student_group[-1] + 1] if student_group else ours[-1]
            theirs_end = theirs[teacher_group[-1] + 1] if teacher_group else theirs[-1]
            if is_plain:
                is_right = ours_end == theirs_end <= agreed
            else:
                is_right = spelling(data[:ours_end]) == spelled[:theirs_end]
            result.found += is_right
            result.wrong += not is_right
        return result


def _with_texts_of_added_tokens(real: Real) -> list[bytes]:
    """The bytes of every id; of special tokens too, which GOLD's teacher reads out of text that spells them."""
    pieces = list(real.vocab.pieces)
    added = real.backend.get_added_tokens_decoder() if real.backend else {}
    for index, token in added.items():
        pieces[index] = pieces[index] or token.content.encode("utf-8")
    return pieces


def _student_offsets(fast, ids: Sequence[int]) -> list[tuple[int, int]]:
    """As ``GOLDTrainer._maybe_add_completion_byte_offsets`` has them."""
    from trl.experimental.utils import piece_byte_len

    sizes = (piece_byte_len(token) for token in fast.convert_ids_to_tokens(ids))
    return list(pairwise([0, *accumulate(sizes)]))
