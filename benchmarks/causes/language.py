"""Languages of a few letters that can be enumerated, and models of them with tokenizers of their own.

A text has at most `longest` bytes and then a stop. Its probability comes from a table: the next letter or the stop,
given all bytes before. A model of it has the probabilities of tokens that follow from that table, for the tokens that
its tokenizer takes (the longest match). So every text has one spelling, and a model's probability of this spelling is
that of the text: it makes no difference whether other spellings are summed over. A student that spells freely
(:func:`free_spellings`) is the exception.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdistill import ByteVocab
from tests.objectives.cases import vocab

LETTERS = (b"a", b"b")
STOP = 0
"""The id of the stop in every vocabulary here."""
IMPOSSIBLE = -20.0
"""The logit of a token that cannot follow: 2e-9, about what a trained model gives to a spelling that it never saw."""
NEVER = -50.0
"""The logit of a letter that never follows."""
PREFIX_FREE = (b"aa", b"ab", b"b")
"""Tokens of which none begins another: in a text made of them a token says nothing of the bytes after it."""
NO_LOOK_AHEAD = ", no look-ahead"
_LETTERS, _TOKENS = (b"", b"a", b"b"), (b"", b"a", b"b", b"aa", b"ab")
VOCABULARIES: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    f"finer{NO_LOOK_AHEAD}": (_LETTERS, _TOKENS),
    f"coarser{NO_LOOK_AHEAD}": (_TOKENS, _LETTERS),
    "finer": (_LETTERS, _TOKENS),
    "coarser": (_TOKENS, _LETTERS),
    "same": (_TOKENS, _TOKENS),
    "mixed": ((b"", b"a", b"b", b"ba", b"aa"), (b"", b"a", b"b", b"ab", b"aab")),
}
"""What the student is beside the teacher -> the pieces of the student, and of the teacher.

Texts of the kinds without look-ahead are made of PREFIX_FREE tokens. In the others a token of the longest match may say
what does not follow it: `a` that no `b` does.
"""


def texts(longest: int) -> list[bytes]:
    """All texts of at most so many bytes."""
    sizes = range(longest + 1)
    return [b"".join(letters) for size in sizes for letters in itertools.product(LETTERS, repeat=size)]


@dataclass(frozen=True)
class Source:
    """Logits of the next letter or the stop, given the bytes before.

    Attributes:
        longest: bytes of the longest text, after which the stop is certain.
        logits: float64 [number of texts, letters + 1], by the bytes before, in the order of :func:`texts`.
    """

    longest: int
    logits: Tensor

    @classmethod
    def drawn(cls, longest: int, generator: torch.Generator) -> "Source":
        """Of standard normal logits."""
        shape = len(texts(longest)), len(LETTERS) + 1
        return cls(longest, torch.randn(shape, generator=generator, dtype=torch.float64))

    def made_of(self, pieces: Sequence[bytes]) -> "Source":
        """The same with impossible texts that are not made of these pieces, none of which begins another."""
        known = texts(self.longest)
        whole = {b""}
        for text in known:
            whole |= {text} if any(text[: -len(piece)] in whole and text.endswith(piece) for piece in pieces) else set()
        begun = {text[:size] for text in whole for size in range(len(text) + 1)}
        logits = self.logits.clone()
        for row, text in enumerate(known):
            for column, following in enumerate(text + letter for letter in LETTERS):
                if following not in begun:
                    logits[row, column] = NEVER
            if text not in whole:
                logits[row, -1] = NEVER
        return Source(self.longest, logits)

    def near(self, distance: float, generator: torch.Generator) -> "Source":
        """Another source, whose logits differ by normal noise of this standard deviation."""
        noise = torch.randn(self.logits.shape, generator=generator, dtype=torch.float64)
        return Source(self.longest, self.logits + distance * noise)

    def probabilities(self) -> dict[bytes, float]:
        """Of every text, its stop included."""
        known = texts(self.longest)
        rows = dict(zip(known, self.logits.log_softmax(-1).tolist(), strict=True))
        found = {}
        for text in known:
            letters = [rows[text[:k]][LETTERS.index(text[k : k + 1])] for k in range(len(text))]
            stop = rows[text][-1] if len(text) < self.longest else 0.0
            # before the last byte that is allowed, nothing else changes: the stop is certain only after it
            found[text] = float(torch.tensor([*letters, stop], dtype=torch.float64).sum().exp())
        return found


@dataclass(frozen=True)
class Spelling:
    """A text in tokens: the ids with the stop at the end, and the bytes before each of them."""

    text: bytes
    ids: tuple[int, ...]
    states: tuple[bytes, ...]


def spelling(vocabulary: ByteVocab, ids: Sequence[int]) -> Spelling:
    """Of some ids, without their stop."""
    ends = [b"", *itertools.accumulate(vocabulary.pieces[token] for token in ids)]
    return Spelling(ends[-1], (*ids, STOP), tuple(ends))


def canonical(vocabulary: ByteVocab, longest: int) -> list[Spelling]:
    """Every text as the tokenizer spells it."""
    return [spelling(vocabulary, vocabulary.encode(text).ids.tolist()) for text in texts(longest)]


def free_spellings(vocabulary: ByteVocab, longest: int) -> list[Spelling]:
    """Every sequence of tokens with at most so many bytes."""

    def grown(ids: tuple[int, ...], room: int) -> Iterator[tuple[int, ...]]:
        yield ids
        for token, piece in enumerate(vocabulary.pieces):
            if piece and len(piece) <= room:
                yield from grown((*ids, token), room - len(piece))

    return [spelling(vocabulary, ids) for ids in grown((), longest)]


@dataclass(frozen=True)
class Table:
    """A model: logits of the next token given the bytes before.

    Attributes:
        vocabulary: its tokens; id 0 is the stop.
        rows: bytes before -> row.
        logits: float64 [rows, vocabulary].
        can_follow: bool [rows, vocabulary]; the other logits are IMPOSSIBLE and are not trained.
    """

    vocabulary: ByteVocab
    rows: dict[bytes, int]
    logits: Tensor
    can_follow: Tensor


def table_of(source: Source, pieces: Sequence[bytes]) -> Table:
    """The model whose texts have exactly the source's probabilities."""
    vocabulary, probabilities = vocab(pieces), source.probabilities()
    spellings = canonical(vocabulary, source.longest)
    rows = {state: k for k, state in enumerate(dict.fromkeys(state for one in spellings for state in one.states))}
    masses = torch.zeros(len(rows), len(vocabulary), dtype=torch.float64)
    for one in spellings:
        for token, state in zip(one.ids, one.states, strict=True):
            masses[rows[state], token] += probabilities[one.text]
    logits = (masses / masses.sum(-1, keepdim=True)).log()
    return Table(vocabulary, rows, logits.clamp(min=IMPOSSIBLE), masses > 0)


def free_table(longest: int, pieces: Sequence[bytes], generator: torch.Generator) -> Table:
    """A model of standard normal logits that may spell a text in any of its tokens."""
    vocabulary = vocab(pieces)
    states = texts(longest)
    room = torch.tensor([[longest - len(state)] for state in states])
    can_follow = torch.tensor([[len(piece) for piece in vocabulary.pieces]]) <= room
    logits = torch.randn(can_follow.shape, generator=generator, dtype=torch.float64)
    logits = logits.masked_fill(~can_follow, IMPOSSIBLE)
    return Table(vocabulary, {state: k for k, state in enumerate(states)}, logits, can_follow)
