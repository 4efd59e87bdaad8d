"""Which prompts are problems of the evaluation: those that share half of the word sequences of one."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

LENGTH = 8
"""Words of a sequence; a shorter problem is one sequence."""
SHARE = 0.5
"""Share of a problem's sequences from which on a prompt counts as that problem."""


@dataclass(frozen=True)
class _Problem:
    task: str
    num_sequences: int


class Overlap:
    """The problems of some tasks, by their sequences of words.

    Letters count without case, and everything that is no letter, digit or underscore separates words, so that layout,
    LaTeX's signs and an instruction before or after the problem do not matter. Of a problem without a word nothing is
    found.

    Args:
        problems: task -> the texts of its problems.

    Example:
        >>> overlap = Overlap({"sums": ["What is $2 + 2$?"]})
        >>> overlap.task_of("Be brief. WHAT IS 2+2?"), overlap.task_of("What is 2 + 3?")
        ('sums', None)
    """

    def __init__(self, problems: Mapping[str, Iterable[str]]):
        self._problems: list[_Problem] = []
        self._by_sequence: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._lengths: set[int] = set()
        for task, texts in problems.items():
            for text in texts:
                self._add(task, _words(text))

    def _add(self, task: str, words: list[str]) -> None:
        if not words:
            return
        length = min(LENGTH, len(words))
        sequences = set(_sequences(words, length))
        for sequence in sequences:
            self._by_sequence[sequence].append(len(self._problems))
        self._problems.append(_Problem(task, len(sequences)))
        self._lengths.add(length)

    def task_of(self, prompt: str) -> str | None:
        """The task that has a problem like this prompt; None if none has."""
        words = _words(prompt)
        asked = {sequence for length in self._lengths for sequence in _sequences(words, length)}
        shared = Counter(problem for sequence in asked for problem in self._by_sequence.get(sequence, ()))
        found = (
            problem for problem in sorted(shared) if shared[problem] >= SHARE * self._problems[problem].num_sequences
        )
        return next((self._problems[problem].task for problem in found), None)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _sequences(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))
