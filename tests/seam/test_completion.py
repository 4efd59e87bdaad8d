"""The escd loss on the language that can be enumerated: every term from the masses of strings.

The student reads the language byte by byte, and the teacher in the tokens aa, ab, b and a. The states of the toy
teacher go through alignment and loss.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from crossdistill.objectives import AlignedBatch, LossInputs
from crossdistill.objectives.escd import ESCD
from crossdistill.ops import HiddenStates, LMHead
from tests.seam.pipeline import ASCII
from tests.seam.source import Source, tokens_of
from tests.seam.test_byte_prefixes import TEXTS
from tests.seam.test_seam import SEPARABLE, SPLIT, P, Q
from tests.seam.texts import LETTERS, TOKENS, in_two_tokenisations

NATS = 2e-4
IMPOSSIBLE = -60.0


def with_student(part: AlignedBatch, student: Source, text: str, letters: dict[str, bytes]) -> LossInputs:
    """The student's states, with the exact probabilities of the next byte; a letter's later bytes are certain."""
    pair = part.pair
    of_bytes = {piece: token for token, piece in enumerate(pair.student.pieces) if piece}
    rows = []
    for place, char in enumerate([*text, "."]):
        row = torch.full((len(pair.student),), IMPOSSIBLE)
        for name, probability in student.steps[text[:place][-1:]].items():
            token = pair.student_stops[0] if name == "." else of_bytes[letters[name][:1]]
            row[token] = math.log(probability)
        rows.append(row)
        for byte in letters.get(char, b"")[1:]:
            row = torch.full((len(pair.student),), IMPOSSIBLE)
            row[of_bytes[bytes([byte])]] = 0.0
            rows.append(row)
    hidden = torch.stack(rows[: len(part.student.ids)])
    return LossInputs(part, torch.zeros(len(hidden)), HiddenStates(hidden, LMHead(torch.eye(len(pair.student)))))


def children(teacher: Source, student: Source, text: str, letters: dict[str, bytes], several: bool) -> Iterator[float]:
    """w_t times - log of the student's probability of the rest of t, of every t that has a term.

    s is the first byte of a letter, which tells it from the other one. A rest of one byte is completed by it; one of
    several bytes along the path, and that only if the text goes on with all of them but the last.
    """
    begin, after = "", teacher.steps["a"]
    for token in tokens_of(text):
        step = teacher.steps[begin[-1:]]
        ahead = b"".join(letters[char] for char in text[len(begin) :])[1:]
        shares = {"aa": after["a"], "ab": after["b"], "a": after["."]} if token[0] == "a" else {"b": 1.0}
        for other, share in shares.items():
            rest = b"".join(letters[char] for char in other)[1:]
            if len(rest) == 1 or (several and rest and ahead.startswith(rest[:-1])):
                done = student.prefix(begin + other) / student.prefix(begin + other[0])
                yield -step[other[0]] * share * math.log(done)
        begin += token


def roots(teacher: Source, student: Source, text: str) -> Iterator[float]:
    """KL of the next letter at each of the teacher's borders, and at the end."""
    begin = ""
    for token in [*tokens_of(text), ""]:
        ours, theirs = student.steps[begin[-1:]], teacher.steps[begin[-1:]]
        if not token and tokens_of(text)[-1:] == ["a"]:
            theirs = {"a": 0.0, "b": 0.0, ".": 1.0}  # the lone `a` says so
        yield sum(q * math.log(q / ours[char]) for char, q in theirs.items() if q)
        begin += token


@pytest.mark.parametrize("completion", ["one_token", "several_tokens"])
@pytest.mark.parametrize("alphabet", [ASCII, SPLIT])
@pytest.mark.parametrize("teacher", [Q, SEPARABLE], ids=["any", "separable"])
def test_every_term_is_that_of_the_language(teacher, alphabet, completion):
    letters = {name: letter.encode() for name, letter in zip("ab", alphabet, strict=True)}
    asked = 0
    for text, part in zip(TEXTS, in_two_tokenisations(teacher, TEXTS, LETTERS, TOKENS, alphabet), strict=True):
        inputs = with_student(part, P, text, letters)
        loss = ESCD(completion=completion, child_weight=0.5).loss(inputs)
        child = list(children(teacher, P, text, letters, completion == "several_tokens"))
        assert loss.stats["child"].item() == pytest.approx(sum(child), abs=NATS)
        assert (loss.total - loss.stats["child"] / 2).item() == pytest.approx(sum(roots(teacher, P, text)), abs=NATS)
        asked += len(child)
    assert asked > 50


def test_a_mistake_is_seen():
    """The states of the student one position late, and of the teacher one token late."""
    letters = {"a": b"a", "b": b"b"}
    text = "abaab"
    (part,) = in_two_tokenisations(Q, [text], LETTERS, TOKENS)
    inputs = with_student(part, P, text, letters)
    right = ESCD().loss(inputs).total
    late = replace(inputs, student=inputs.student._replace(hidden=inputs.student.hidden.roll(1, 0)))
    teacher = part.teacher.dense
    other = part.with_teacher(states=teacher._replace(hidden=teacher.hidden.roll(1, 0)))
    for wrong in (late, replace(inputs, batch=other)):
        assert (ESCD().loss(wrong).total - right).abs() > 0.05
