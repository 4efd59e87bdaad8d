"""Sizes, and the ways of computing a loss that are measured at each."""

import math
import re
from dataclasses import dataclass

SIZE = re.compile(r"(\d+):(\d+)/(\d+):(\d+)/(\d+)")
FLOOR, GOLD_HYBRID, GOLD_PLAIN = "products", "trl_gold_hybrid", "trl_gold_plain"
NAIVE = "naive:"
"""Prefix of an objective's name for its naive form."""
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Size:
    """A number of tokens and the sizes of both output layers.

    Attributes:
        tokens: the student's tokens in all responses, including their stops.
        student_vocab: entries of the student's output layer.
        student_hidden: the student's hidden size.
        teacher_vocab: entries of the teacher's output layer.
        teacher_hidden: the teacher's hidden size.
    """

    tokens: int
    student_vocab: int
    student_hidden: int
    teacher_vocab: int
    teacher_hidden: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """``TOKENS:V_S/H_S:V_T/H_T``; ValueError for anything else."""
        found = SIZE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"a size is TOKENS:V_S/H_S:V_T/H_T, such as 1024:49152/576:151936/1024, not {text!r}")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.tokens}:{self.student_vocab}/{self.student_hidden}:{self.teacher_vocab}/{self.teacher_hidden}"

    @property
    def pair(self) -> str:
        """The sizes without the tokens."""
        return str(self).partition(":")[2]


@dataclass(frozen=True)
class Setting:
    """The options that all cells of a run share.

    Attributes:
        device: cpu or cuda.
        dtype: of states and heads.
        trains_head: whether the student's output weight gets a gradient too (it does not under LoRA).
        response_tokens: tokens of the longest response.
        cap_bytes: extra memory that a way may take.
        repeats: repetitions of a call, as long as all of them took less than `cheap_seconds`.
        cheap_seconds: see `repeats`.
        seed: of vocabularies and heads.
        student: folder of a real tokenizer, or "" for made-up vocabularies.
        teacher: the same for the teacher.
    """

    device: str
    dtype: str
    trains_head: bool
    response_tokens: int
    cap_bytes: int
    repeats: int
    cheap_seconds: float
    seed: int = 0
    student: str = ""
    teacher: str = ""


def least_bytes(way: str, size: Size, dtype: str) -> int:
    """The memory that a way must hold at once if it makes whole matrices, computed and not measured; otherwise 0.

    GOLD: logits, probabilities and aligned probabilities of both sides, in the models' dtype. It also holds sorted
    values, their int64 indices and gradients, so that it takes more. The naive form: logits and log-probabilities of
    both, in float32 (a sum over a vocabulary needs it).
    """
    entries = size.tokens * (size.student_vocab + size.teacher_vocab)
    if way in (GOLD_HYBRID, GOLD_PLAIN):
        return 3 * entries * _BYTES[dtype]
    return 2 * entries * 4 if way.startswith(NAIVE) else 0


def response_lengths(tokens: int, most: int) -> list[int]:
    """Lengths, as equal as possible, of the fewest responses of at most `most` tokens that hold all tokens."""
    number = math.ceil(tokens / most)
    return [tokens // number + (k < tokens % number) for k in range(number)]
