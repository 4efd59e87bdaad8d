"""What is measured: a size, and one way of computing a loss at it."""

import math
import re
from dataclasses import dataclass

SIZE = re.compile(r"(\d+):(\d+)/(\d+):(\d+)/(\d+)")
FLOOR, GOLD_HYBRID, GOLD_PLAIN = "products", "trl_gold_hybrid", "trl_gold_plain"
NAIVE = "naive:"
"""Before the name of an objective: its naive form."""
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Size:
    """tokens: of the student, in all responses, their stops among them. The rest: of the two output layers."""

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
        """The same without the tokens."""
        return str(self).partition(":")[2]


@dataclass(frozen=True)
class Setting:
    """What is alike in all cells of a run.

    dtype: of states and heads. trains_head: whether the student's output weight gets a gradient too (it does not under
    LoRA). response_tokens: of the longest response. cap_bytes: extra memory that a way may take. repeats: of a call,
    as long as all of them took less than `cheap_seconds`. student, teacher: folders of real tokenizers, or "" for
    made-up vocabularies.
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
    """Computed, not measured: what a way must hold at once that makes whole matrices; 0 for those that do not.

    GOLD: logits, probabilities and aligned probabilities of both sides, in the models' dtype. It also holds sorted
    values, their int64 indices and gradients, so that it takes more. The naive form: logits and log-probabilities of
    both, in float32 (a sum over a vocabulary needs it).
    """
    entries = size.tokens * (size.student_vocab + size.teacher_vocab)
    if way in (GOLD_HYBRID, GOLD_PLAIN):
        return 3 * entries * _BYTES[dtype]
    return 2 * entries * 4 if way.startswith(NAIVE) else 0


def response_lengths(tokens: int, most: int) -> list[int]:
    """As few responses of at most that many tokens as hold them all, as alike as can be; one stop token each."""
    number = math.ceil(tokens / most)
    return [tokens // number + (k < tokens % number) for k in range(number)]
