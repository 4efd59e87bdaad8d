"""Byte-prefix marginals on the language that can be enumerated.

Marginal credit goes through the whole pipeline; bpm's targets are made from the states of the toy models.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from crossdistill import ByteVocab
from crossdistill.chat import stop_ids
from crossdistill.objectives import Evidence, States, VocabPair
from crossdistill.objectives.dpca import DPCA
from crossdistill.ops import LMHead, last_hidden_states
from tests.objectives.byte_prefixes import targets_of
from tests.objectives.cases import evidence as evidence_of
from tests.seam import toy_models
from tests.seam.pipeline import ASCII, run
from tests.seam.source import Outcome, Source, outcomes, tokens_of
from tests.seam.test_seam import NATS, PAIRS, SEPARABLE, SPLIT, P, Q

PROBABILITY = 1e-5
LANGUAGES = [pytest.param(Q, id="any"), pytest.param(SEPARABLE, id="separable")]


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


# ---- bpm -------------------------------------------------------------------------------------------------------------


def letters_under_tokens(teacher: Source, text: str, stopped: bool, *, swapped: bool = False) -> Evidence:
    """A student of letters and a teacher of the tokens aa, ab, b and a, or the other way round, after a prompt."""
    sides = [toy_models.student(P, ASCII), toy_models.teacher(teacher, ASCII)]
    if swapped:
        sides = [toy_models.teacher(P, ASCII), toy_models.student(teacher, ASCII)]
    vocabs = [ByteVocab.from_tokenizer(made, size=len(made)) for _, made in sides]
    stops = [stop_ids(made, model.generation_config.eos_token_id) for model, made in sides]
    pair = VocabPair(vocabs[0], vocabs[1], tuple(stops[0]), tuple(stops[1]))
    states = []
    for (model, _), vocabulary in zip(sides, vocabs, strict=True):
        ids = torch.tensor([[0, *vocabulary.encode(text).ids]])  # token 0 is no letter: the language starts after it
        hidden = last_hidden_states(model, ids, torch.ones_like(ids))[0]
        states.append(States(hidden if stopped else hidden[:-1], LMHead.from_model(model)))
    student_ids = pair.student.encode(text).ids.tolist()
    return evidence_of(pair, student_ids, pair.student_stops[0] if stopped else None, (states[0], states[1]))


TEXTS = ["", "a", "b", "aa", "ab", "aab", "abaaab", "bbaab", "aaaaa"]


def close(ours: dict[bytes | str, float], expected: dict[bytes | str, float]) -> bool:
    """Equal where named, and nothing anywhere else."""
    return all(abs(ours.get(key, 0.0) - expected.get(key, 0.0)) < PROBABILITY for key in {*ours, *expected})


@pytest.mark.parametrize("text", TEXTS)
def test_targets_of_a_finer_student_are_the_next_characters(text):
    """Exact. Inside a token the stop has no part: the tokens that end there have it, as the residual."""
    targets = targets_of(letters_under_tokens(Q, text, stopped=True))
    tokens, inside = tokens_of(text), 0
    borders = {sum(map(len, tokens[:k])) for k in range(len(tokens) + 1)}
    assert len(targets) == len(text) + 1
    for position, target in enumerate(targets):
        step = Q.steps[text[position - 1 : position]]
        expected = {b"a": step["a"], b"b": step["b"], "stop": step["."]}
        if position == len(text) and tokens[-1:] == ["a"]:
            expected = {"stop": 1.0}  # the lone `a` says so
        elif position not in borders:
            expected["other"] = expected.pop("stop")
            inside += 1
        assert close(target, expected), (position, target, expected)
    assert inside == sum(len(token) == 2 for token in tokens)


@pytest.mark.parametrize("text", TEXTS[1:])
def test_targets_of_a_coarser_student_bound_those_of_longer_tokens(text):
    """The realised token has its exact share. The other long token's share stays with `a`, which it begins with."""
    targets, tokens = targets_of(letters_under_tokens(Q, text, stopped=False, swapped=True)), tokens_of(text)
    assert len(targets) == len(tokens)
    for k, (target, token) in enumerate(zip(targets, tokens, strict=True)):
        step, after = Q.steps["".join(tokens[:k])[-1:]], Q.steps["a"]
        exact = {piece.encode(): step["a"] * after[piece[1]] for piece in ("aa", "ab")}
        path = {token.encode(): exact[token.encode()]} if token in ("aa", "ab") else {}
        expected = {b"a": step["a"] - sum(path.values()), b"b": step["b"], "stop": step["."], **path}
        assert close(target, expected), (k, target, expected)
        assert all(target.get(piece, 0.0) <= share + PROBABILITY for piece, share in exact.items())
        assert sum(target.values()) == pytest.approx(1.0, abs=PROBABILITY)
