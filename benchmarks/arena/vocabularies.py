"""Tokenizers for the arena's models: for each student, others that are finer, coarser, and mixed."""

from transformers import PreTrainedTokenizerFast

from benchmarks.arena.sorting import Sorting
from tools.demo_tokenizers import TOKENIZER_SEED, byte_level_tokenizer, spaced_tokenizer, tokenizer_corpus

# Fewer merges of the same corpus are the first of more: a finer tokenizer cuts each token of the student into pieces,
# and each token of a coarser one is a row of the student's.
EVERY_MERGE = 400
"""More than the corpus has: each word is one token."""
WORDS_WITH_ENDINGS = " (?!and|is)|-"
"""Words of sums begin here: those such as " ninety and" are one."""
SUMS_FINE_MERGES = 25
SORTING_MERGES = 70
SORTING_FINE_MERGES = 20
SORTING_MIXED_MERGES = 60


def sorting_corpus() -> list[str]:
    """The texts of problems and solutions."""
    drawn = Sorting().draw("train", 3000, TOKENIZER_SEED)
    return [text for problem in drawn for text in (problem.prompt, problem.solution)]


def sums_fine() -> PreTrainedTokenizerFast:
    """The pieces of the demo student's tokens."""
    return byte_level_tokenizer(tokenizer_corpus(), SUMS_FINE_MERGES)


def sums_coarse() -> PreTrainedTokenizerFast:
    """Whole words, with "and" and "is" if they follow."""
    return byte_level_tokenizer(tokenizer_corpus(), EVERY_MERGE, WORDS_WITH_ENDINGS)


def sorting_same() -> PreTrainedTokenizerFast:
    """The student's: an animal is one token or a few."""
    return byte_level_tokenizer(sorting_corpus(), SORTING_MERGES)


def sorting_fine() -> PreTrainedTokenizerFast:
    """The pieces of the student's tokens."""
    return byte_level_tokenizer(sorting_corpus(), SORTING_FINE_MERGES)


def sorting_mixed() -> PreTrainedTokenizerFast:
    """Other merges, some with the comma: its tokens end within the student's and the student's within its own."""
    return spaced_tokenizer(sorting_corpus(), SORTING_MIXED_MERGES, "▁")
