"""Byte-prefix marginals on the language that can be enumerated: marginal credit, bpm's targets and bld's bytes.

Marginal credit goes through the whole pipeline too; the rest is made from the states of the toy models.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from crossdistill.credit import batch_credit
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.shared.bytewise.byte_heads import STOP
from crossdistill.objectives.shared.bytewise.next_bytes import ByteSlots, next_bytes
from tests.objectives.byte_prefixes import targets_of
from tests.seam.pipeline import ASCII, run
from tests.seam.source import Outcome, Source, outcomes, strings, tokens_of
from tests.seam.test_seam import NATS, PAIRS, SEPARABLE, SPLIT, P, Q
from tests.seam.texts import CROSSING, LETTERS, TOKENS, in_two_tokenisations, pieces

PROBABILITY = 1e-5
TEXTS = list(itertools.chain.from_iterable(map(strings, range(6))))
LANGUAGES = [pytest.param(Q, id="any"), pytest.param(SEPARABLE, id="separable", marks=pytest.mark.slow)]


def marginal(top_k: int = 0) -> DPCA:
    return DPCA(credit="marginal", top_k=top_k, max_advantage=1e6)


def possible(teacher: Source, budget: int = 7) -> list[Outcome]:
    return [outcome for outcome in outcomes(budget) if outcome.teacher_probability(teacher) > 0]


def log_next(source: Source, text: str) -> list[float]:
    """log P(character | those before) of each; no token is known to it."""
    return [math.log(source.prefix(text[: k + 1]) / source.prefix(text[:k])) for k in range(len(text))]


def expected_credit(outcome: Outcome, teacher: Source) -> list[float]:
    """Of each character and of the stop: by the masses of strings.

    A lone last `a` already says that the stop follows.
    """
    scores = log_next(teacher, outcome.text)
    ends_early = tokens_of(outcome.text)[-1:] == ["a"]
    early = math.log(teacher.steps["a"]["."]) if ends_early else 0.0
    own = log_next(P, outcome.text)
    values = [score - log_p for score, log_p in zip(scores, own, strict=True)]
    if ends_early:
        values[-1] += early
    if outcome.stopped:
        stop = math.log(teacher.string(outcome.text) / teacher.prefix(outcome.text)) - early
        values.append(stop - math.log(P.string(outcome.text) / P.prefix(outcome.text)))
    return values


@pytest.mark.parametrize("teacher", LANGUAGES)
@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
def test_every_character_is_credited_by_its_own_probability(alphabet, family, teacher):
    """Exactly, inside the teacher's tokens too, where the semantic prior shares by the student's opinion."""
    sampled = possible(teacher)
    result = run(sampled, P, teacher, alphabet=alphabet, family=family, objective=marginal())
    prior = run(sampled, P, teacher, alphabet=alphabet, family=family)
    off = 0.0
    for outcome, item, other in zip(sampled, result.scored, prior.scored, strict=True):
        expected = expected_credit(outcome, teacher)
        ours, shared = (per_character(scored.advantages, outcome, alphabet) for scored in (item, other))
        np.testing.assert_allclose(ours, expected, atol=NATS, rtol=1e-5)
        off = max([off, *np.abs(np.subtract(shared, expected))])
    assert off > 0.3


def per_character(advantages: np.ndarray, outcome: Outcome, alphabet: tuple[str, str]) -> list[float]:
    """Sums over the bytes of each character; the stop last."""
    letters = dict(zip("ab", alphabet, strict=True))
    sizes = [len(letters[char].encode()) for char in outcome.text] + [1] * outcome.stopped
    splits = np.cumsum([0, *sizes])
    return [float(advantages[start:stop].sum()) for start, stop in itertools.pairwise(splits)]


def test_the_second_byte_of_a_character_is_certain():
    """For both sides, so it is credited with nothing. (A lone last one, left out, says that the stop follows.)"""
    sampled = [outcome for outcome in possible(Q) if tokens_of(outcome.text)[-1:] != ["a"]]
    seconds = [
        item.advantages[k + 1]
        for item in run(sampled, P, Q, alphabet=SPLIT, objective=marginal()).scored
        for k, byte in enumerate(item.response.data)
        if byte == "é".encode()[0]
    ]
    assert len(seconds) > 100
    np.testing.assert_allclose(seconds, 0, atol=NATS)


@pytest.mark.slow
def test_with_enough_of_the_most_probable_tokens_nothing_is_lost():
    """Six tokens have a probability; with two, some characters inside a token get less than their due."""
    sampled = possible(Q)
    exact, six, two = (run(sampled, P, Q, objective=marginal(k)).scored for k in (0, 6, 2))
    worst = 0.0
    for outcome, a, b, c in zip(sampled, exact, six, two, strict=True):
        np.testing.assert_allclose(b.advantages, a.advantages, atol=NATS, rtol=1e-5)
        starts = np.cumsum([0, *map(len, tokens_of(outcome.text))])[:-1]
        first = a.advantages[starts] - c.advantages[starts]
        assert (first > -NATS).all()
        worst = max([worst, *first])
    assert worst > 0.05


@pytest.mark.parametrize("teacher", [LETTERS, TOKENS])
@pytest.mark.parametrize("student", [LETTERS, TOKENS, CROSSING])
def test_every_token_is_credited_by_its_own_probability(student, teacher):
    """In any two tokenisations: log P(bytes of the token | bytes before it) of the language, exactly.

    The teacher's lone last `a` already says that the stop follows.
    """
    several = 0
    for text, part in zip(TEXTS, in_two_tokenisations(Q, TEXTS, student, teacher), strict=True):
        ends = np.cumsum([0, *map(len, pieces(part))])
        expected = np.diff([math.log(Q.prefix(text[:end])) for end in ends])
        expected = np.append(expected, math.log(Q.string(text) / Q.prefix(text)))
        if teacher == TOKENS and tokens_of(text)[-1:] == ["a"]:
            expected[-2:] += np.array([1, -1]) * math.log(Q.steps["a"]["."])
        scores = (batch_credit(part, "marginal") + part.student.logprobs).numpy()
        np.testing.assert_allclose(scores, expected, atol=NATS, rtol=1e-5)
        several += int((part.alignment.student_sizes > 1).sum())
    assert (several > 20) == (teacher == TOKENS and student != TOKENS)


# ---- bpm -------------------------------------------------------------------------------------------------------------


def close(ours: dict[bytes | str, float], expected: dict[bytes | str, float]) -> bool:
    """Equal where named, and nothing anywhere else."""
    return all(abs(ours.get(key, 0.0) - expected.get(key, 0.0)) < PROBABILITY for key in {*ours, *expected})


def inside_tokens(text: str) -> set[int]:
    """The places in a text that lie inside one of its tokens aa and ab."""
    return set(range(len(text))) - {0, *np.cumsum([len(token) for token in tokens_of(text)]).tolist()}


@pytest.mark.parametrize("student", [LETTERS, CROSSING])
def test_targets_of_a_finer_student_are_the_next_characters(student):
    """Exact. Inside a token the stop has no part: the tokens that end there have it, as the residual.

    The token `ba` of the crossing student has its exact share where the text goes on with it; the path says nothing of
    it anywhere else, and its share stays with `b`.
    """
    crossed = 0
    for text, part in zip(TEXTS, in_two_tokenisations(Q, TEXTS, student, TOKENS), strict=True):
        tokens, place = pieces(part), 0
        for token, target in zip([*tokens, ""], targets_of(part), strict=True):
            step = Q.steps[text[:place][-1:]]
            expected = {b"a": step["a"], b"b": step["b"], "stop": step["."]}
            if place == len(text) and tokens_of(text)[-1:] == ["a"]:
                expected = {"stop": 1.0}  # the lone `a` says so
            elif place in inside_tokens(text):
                expected["other"] = expected.pop("stop")
            if token == "ba":
                both = Q.prefix(text[: place + 2]) / Q.prefix(text[:place])
                expected |= {b"ba": both, b"b": step["b"] - both}
                crossed += 1
            assert close(target, expected), (text, place, target, expected)
            place += len(token)
    assert (crossed > 20) == (student == CROSSING)


def test_targets_of_a_coarser_student_bound_those_of_longer_tokens():
    """The realised token has its exact share. The other long token's share stays with `a`, which it begins with."""
    for text, part in zip(TEXTS, in_two_tokenisations(Q, TEXTS, TOKENS, LETTERS, stopped=False), strict=True):
        place, tokens = 0, pieces(part)
        assert tokens == tokens_of(text)
        for token, target in zip(tokens, targets_of(part), strict=True):
            step, after = Q.steps[text[:place][-1:]], Q.steps["a"]
            exact = {piece.encode(): step["a"] * after[piece[1]] for piece in ("aa", "ab")}
            path = {token.encode(): exact[token.encode()]} if token in ("aa", "ab") else {}
            expected = {b"a": step["a"] - sum(path.values()), b"b": step["b"], "stop": step["."], **path}
            assert close(target, expected), (text, place, target, expected)
            assert all(target.get(piece, 0.0) <= share + PROBABILITY for piece, share in exact.items())
            assert sum(target.values()) == pytest.approx(1.0, abs=PROBABILITY)
            place += len(token)


# ---- bld -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("alphabet", [ASCII, SPLIT])
@pytest.mark.parametrize(("student", "teacher"), [(LETTERS, TOKENS), (CROSSING, TOKENS), (TOKENS, LETTERS)])
def test_next_bytes_are_those_of_the_language(student, teacher, alphabet, language):
    """Exact at the teacher's borders; inside a token, given that it goes on; exact there too if it always does.

    After the token `a` alone, which says that the response ends, the teacher's answer is of the token and not of the
    text; only that one is not the language's. The second byte of a character is certain.
    """
    letters = {name: letter.encode() for name, letter in zip("ab", alphabet, strict=True)}
    for text, part in zip(TEXTS, in_two_tokenisations(language, TEXTS, student, teacher, alphabet), strict=True):
        found = next_bytes(ByteSlots.of(part, 8), part.pair, part.teacher.dense, torch.device("cpu"))
        expected, ended = np.zeros((0, 257)), []
        for place, char in enumerate([*text, "."]):
            steps = dict(language.steps[text[:place][-1:]])
            if place == len(text) and teacher == TOKENS and tokens_of(text)[-1:] == ["a"]:
                steps = {"a": 0.0, "b": 0.0, ".": 1.0}
            inside = teacher == TOKENS and place in inside_tokens(text)
            ended.append(steps.pop(".") if inside else 0.0)
            row = np.zeros((1, 257))
            for name, probability in steps.items():
                row[0, STOP if name == "." else letters[name][0]] += probability / sum(steps.values())
            rest = [letters[char][1:]] if char != "." else []
            certain = [np.eye(257)[[byte]] for byte in b"".join(rest)]
            ended += [0.0] * len(certain)
            expected = np.concatenate([expected, row, *certain])
        np.testing.assert_allclose(found.log_probs.exp().numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(found.ended.numpy(), ended, atol=1e-6)
