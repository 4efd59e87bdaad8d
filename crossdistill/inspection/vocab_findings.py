"""What a user should know about the vocabularies of a pair."""

from collections.abc import Collection, Iterator
from typing import Any

from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.inspection.measure import expected_coverage
from crossdistill.tokens import ByteVocab
from crossdistill.tokens.special_tokens import control_tokens

THINKING_TAGS = ("<think>", "</think>")
ENOUGH_COVERAGE = 0.99
"""Share of the shipped corpus that a teacher can supervise without a word about it."""

THINKING_TAG_IS_CONTROL = Kind(
    "thinking_tag_is_control",
    Severity.NOTICE,
    When.BEFORE_WEIGHTS,
    "the {side}'s tokenizer has {tags} as control tokens, which have no bytes: name them in text_tokens if they are "
    "words of a response.",
    "sampled ones get no signal, and a teacher reads those of a response as something else",
)
TEACHER_CANNOT_ENCODE = Kind(
    "teacher_cannot_encode",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the {side}'s tokenizer has no entries for some text: it can supervise {share:.1%} of the bytes of the shipped "
    "corpus; `crossdistill inspect` shows which, and another teacher has more.",
    "responses with such text get no signal there; they are counted as unencodable",
)


def thinking_findings(tokenizer: Any, side: str, text_tokens: Collection[str] = ()) -> Iterator[Finding]:
    """Whether the tags of reasoning are control tokens of a tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer.
        side: what messages call its model.
        text_tokens: special tokens that the run reads as text.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tags = {"additional_special_tokens": ["<think>", "</think>"]}
        >>> [finding] = thinking_findings(ByT5Tokenizer(extra_ids=0, **tags), "student")
        >>> finding.message[:64]
        "the student's tokenizer has <think>, </think> as control tokens,"
    """
    control = control_tokens(tokenizer, text_tokens)
    tags = [tag for tag in THINKING_TAGS if tag in control]
    if tags:
        yield THINKING_TAG_IS_CONTROL(side=side, tags=", ".join(tags))


def coverage_findings(student: ByteVocab, teacher: ByteVocab, side: str = "teacher") -> Iterator[Finding]:
    """Whether the teacher can encode what the student may write.

    Args:
        student: the student's vocabulary.
        teacher: the teacher's.
        side: what messages call the teacher.
    """
    if teacher.encodes_any_bytes and not teacher.unencodable:
        return
    share = expected_coverage(student, teacher)
    if share < ENOUGH_COVERAGE:
        yield TEACHER_CANNOT_ENCODE(side=side, share=share)
