"""The whole pipeline on a language that can be enumerated.

Sampled ids -> Distiller.score (split, encode, align, LocalTeacher, the student's log-probabilities) -> advantages,
through real models and tokenizers, against probabilities of strings that know nothing of tokens.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossdistill import Alignment, ByteVocab, Encoding
from crossdistill.align import Selection
from crossdistill.distill import Distiller, distiller
from crossdistill.ops import last_hidden_states
from tests.seam import toy_models
from tests.seam.pipeline import ASCII, largest_error, run
from tests.seam.source import Outcome, kl_of_strings, outcomes, source, strings, tokens_of

P = source(start=(0.55, 0.25, 0.2), after_a=(0.3, 0.25, 0.45), after_b=(0.2, 0.3, 0.5))
# never stops after `a`, so that the teacher's choice of tokens tells nothing of what follows
SEPARABLE = source(start=(0.5, 0.3, 0.2), after_a=(0.4, 0.6, 0.0), after_b=(0.3, 0.3, 0.4))
R = source(start=(0.45, 0.35, 0.2), after_a=(0.2, 0.3, 0.5), after_b=(0.25, 0.25, 0.5))
Q = source(start=(0.3, 0.6, 0.1), after_a=(0.5, 0.1, 0.4), after_b=(0.35, 0.05, 0.6))
SPLIT = ("é", "x")  # `é` is two bytes, so two tokens of the student
PAIRS = [
    pytest.param(ASCII, toy_models.BYTE_LEVEL, id="byte_level"),
    pytest.param(ASCII, toy_models.SENTENCEPIECE, id="sentencepiece"),
    pytest.param(SPLIT, toy_models.BYTE_LEVEL, id="split_characters"),
]
BUDGET = 8
NATS = 2e-5  # float32 sums of a dozen log-probabilities


def samples(budget: int = BUDGET) -> list[Outcome]:
    return outcomes(budget)


# ---- the language itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [P, Q])
def test_masses_of_token_prefixes_are_sums_over_strings(language):
    """By brute force over all strings up to a length beyond which little is left."""
    masses: dict[tuple[str, ...], float] = {}
    for length in range(15):
        for text in strings(length):
            tokens = tokens_of(text)
            for k in range(min(4, len(tokens)) + 1):
                key = tuple(tokens[:k])
                masses[key] = masses.get(key, 0.0) + language.string(text)
    left = 1 - masses[()]
    assert 0 < left < 1e-3
    for key, mass in masses.items():
        assert 0 <= language.token_prefix(key) - mass <= left + 1e-12


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
def test_the_teachers_tokenizer_takes_the_longest_match(alphabet, family):
    made = toy_models.tokenizer(alphabet, toy_models.MERGES, family)
    letters = dict(zip("ab", alphabet, strict=True))
    vocab = ByteVocab.from_tokenizer(made)
    for text in itertools.chain.from_iterable(map(strings, range(9))):
        pieces = [vocab.pieces[token].decode() for token in vocab.encode("".join(letters[c] for c in text)).ids]
        assert pieces == ["".join(letters[char] for char in token) for token in tokens_of(text)]


@pytest.mark.parametrize("build", [toy_models.student, toy_models.teacher])
@pytest.mark.parametrize("alphabet", [ASCII, SPLIT])
def test_the_models_are_normalised(build, alphabet):
    model, made = build(P, alphabet)
    table = model(torch.arange(len(made))[None]).logits[0].double()
    torch.testing.assert_close(table.logsumexp(-1), torch.zeros(len(made), dtype=torch.float64), atol=1e-6, rtol=0)


# ---- (a) chunks, (b) equality, (c) the divergence --------------------------------------------------------------------


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
def test_chunk_log_probabilities_are_those_of_the_strings(alphabet, family):
    result = run(samples(), P, Q, alphabet=alphabet, family=family)
    for outcome, item, ours in zip(result.outcomes, result.scored, result.gaps(), strict=True):
        expected = outcome.chunks(P, Q)
        text = expected[: len(expected) - outcome.stopped]
        np.testing.assert_allclose(np.reshape(ours, (-1, 2)), np.reshape(text, (-1, 2)), rtol=1e-5, atol=NATS)
        assert item.mask.all()
        assert item.response.data == "".join(dict(zip("ab", alphabet, strict=True))[c] for c in outcome.text).encode()
        if outcome.stopped:
            assert item.teacher.stop_logprob == pytest.approx(expected[-1][1], abs=NATS)
    assert largest_error(result, P, Q) < NATS
    lengths = {len(token) for outcome in result.outcomes for token in tokens_of(outcome.text)}
    assert lengths == {1, 2}  # chunks of several student tokens were among them


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
def test_the_same_source_in_other_tokens_teaches_nothing(alphabet, family):
    """Every advantage is 0, the stop unit's too."""
    possible = [outcome for outcome in samples() if outcome.stopped and outcome.probability(SEPARABLE) > 0]
    result = run(possible, SEPARABLE, SEPARABLE, alphabet=alphabet, family=family)
    assert len(result.outcomes) > 60
    for item in result.scored:
        assert item.mask.all()
        assert np.abs(item.advantages).max() < NATS


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
@pytest.mark.parametrize("language", [P, pytest.param(Q, marks=pytest.mark.slow)])
def test_where_a_token_tells_what_follows_the_stop_pays_it_back(language, alphabet, family):
    """The token `a` says that the stop comes next, which the student says a token later.

    The teacher pays for the stop with the text and the student with the stop token, so the two chunks are apart by
    log P(stop | a), in opposite directions; every other advantage is 0. A response that is cut off there was never
    paid back: the teacher is sure of a stop that did not come. This is the method on tokens, not an error of ours.
    """
    result = run(samples(), language, language, alphabet=alphabet, family=family)
    early = math.log(language.steps["a"]["."])
    ends = 0
    for outcome, ours in zip(result.outcomes, result.chunk_advantages(), strict=True):
        expected = [0.0] * len(ours)
        if outcome.text and tokens_of(outcome.text)[-1] == "a":
            ends += 1
            expected[-1 - outcome.stopped :] = [early, -early] if outcome.stopped else [early]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=NATS)
    assert 0 < ends < len(result.outcomes) / 2


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
def test_with_a_reference_a_chunk_is_worth_what_the_teacher_has_over_it(alphabet, family):
    """Chunk by chunk log q - log q_ref of strings: the student's own probability cancels."""
    result = run(samples(), P, Q, alphabet=alphabet, family=family, reference_source=R)
    for outcome, ours in zip(result.outcomes, result.chunk_advantages(), strict=True):
        merits = zip(outcome.chunks(P, Q), outcome.chunks(P, R), strict=True)
        np.testing.assert_allclose(ours, [log_q - log_ref for (_, log_q), (_, log_ref) in merits], atol=NATS)
    same = run(samples(), P, Q, alphabet=alphabet, family=family, reference_source=Q)
    assert not any(item.advantages.any() for item in same.scored)
    assert all(item.mask.all() for item in same.scored)


@pytest.mark.parametrize(("alphabet", "family"), PAIRS)
@pytest.mark.parametrize(("student", "teacher"), [(P, Q), pytest.param(Q, P, marks=pytest.mark.slow)])
def test_the_expected_sum_of_advantages_is_minus_the_divergence(student, teacher, alphabet, family):
    """sum_y P_S(y) sum_i A_i(y) = -KL, over everything that can be sampled in the budget, truncation included."""
    result = run(samples(), student, teacher, alphabet=alphabet, family=family)
    weights = [outcome.probability(student) for outcome in result.outcomes]
    assert sum(weights) == pytest.approx(1)
    expected_sum = sum(
        weight * item.advantages.sum(dtype=np.float64) for weight, item in zip(weights, result.scored, strict=True)
    )
    divergence = sum(
        weight * math.log(weight / outcome.teacher_probability(teacher))
        for weight, outcome in zip(weights, result.outcomes, strict=True)
    )
    assert expected_sum == pytest.approx(-divergence, abs=NATS)
    truncated = sum(w for w, outcome in zip(weights, result.outcomes, strict=True) if not outcome.stopped)
    assert divergence == pytest.approx(kl_of_strings(student, teacher), abs=5 * truncated)
    assert divergence > 10 * truncated


# ---- (d) the test can fail -------------------------------------------------------------------------------------------


def rolled(module: str, shift: int) -> Callable[[pytest.MonkeyPatch], None]:

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{module}.last_hidden_states", lambda *a: last_hidden_states(*a).roll(shift, dims=1))

    return patch


def without_last_text_token(monkeypatch: pytest.MonkeyPatch) -> None:

    split = distiller.split_response

    def dropping(ids: Any, vocab: ByteVocab, stops: Any) -> Any:
        response = split(ids, vocab, stops)
        kept = response.text_positions[:-1]
        return replace(response, text_positions=kept, data=vocab.decode(response.ids[kept]))

    monkeypatch.setattr(distiller, "split_response", dropping)


def with_text_positions_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Student log-probabilities of the neighbours."""
    split = distiller.split_response

    def shifting(ids: Any, vocab: ByteVocab, stops: Any) -> Any:
        response = split(ids, vocab, stops)
        return replace(response, text_positions=np.maximum(response.text_positions - 1, 0))

    monkeypatch.setattr(distiller, "split_response", shifting)


def without_first_teacher_token(made: Distiller) -> None:
    vocab = made.teachers["teacher"].vocab
    encode = vocab.encode

    def dropping(data: bytes) -> Encoding:
        ids, ends, *_ = encode(data)
        return Encoding(ids[1:], ends[1:]) if len(ids) > 1 else Encoding(ids, ends)

    vocab.encode = dropping


def with_one_stop_token(made: Distiller) -> None:
    teacher = made.teachers["teacher"]
    teacher.stop_ids = teacher.stop_ids[:1]


def with_chunks_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over a response stay right, and the chunks are too coarse."""

    def whole(student_ends: np.ndarray, teacher_ends: np.ndarray) -> Selection:
        numbers = np.arange(len(student_ends)), np.arange(len(teacher_ends))
        if len(student_ends) == 0:
            return Selection(Alignment([0], [0], [0]), *numbers)
        return Selection(Alignment([0, len(student_ends)], [0, len(teacher_ends)], [0, student_ends[-1]]), *numbers)

    def coarse(student_ends: list[np.ndarray], teacher_ends: list[np.ndarray], holes: object) -> list[Selection]:
        return [whole(*pair) for pair in zip(student_ends, teacher_ends, strict=True)]

    monkeypatch.setattr("crossdistill.paired.align_around_batch", coarse)


MISTAKES_OF_CODE = {
    "teacher states one late": rolled("crossdistill.teachers.local", 1),
    "teacher states one early": rolled("crossdistill.teachers.local", -1),
    "student states one late": rolled("crossdistill.distill.student", 1),
    "student states one early": rolled("crossdistill.distill.student", -1),
    "last text token dropped": without_last_text_token,
    "text positions shifted": with_text_positions_shifted,
    "chunks merged": with_chunks_merged,
}
MISTAKES_AROUND_THE_TEACHER: dict[str, dict[str, Any]] = {
    "first teacher token dropped": {"prepare": without_first_teacher_token},
    "one stop token forgotten": {"prepare": with_one_stop_token},
    "stop unit forgotten": {"stop_unit": False},
}


def test_without_a_mistake_the_error_is_rounding():
    assert largest_error(run(samples(5), P, Q), P, Q) < NATS


@pytest.mark.parametrize("mistake", MISTAKES_OF_CODE)
@pytest.mark.parametrize("teacher", [P, Q], ids=["same_source", "other_source"])
def test_a_mistake_in_the_code_is_seen(monkeypatch, mistake, teacher):
    MISTAKES_OF_CODE[mistake](monkeypatch)
    assert largest_error(run(samples(5), P, teacher), P, teacher) > 0.05


@pytest.mark.parametrize("mistake", MISTAKES_AROUND_THE_TEACHER)
@pytest.mark.parametrize("teacher", [P, Q], ids=["same_source", "other_source"])
def test_a_mistake_around_the_teacher_is_seen(mistake, teacher):
    result = run(samples(5), P, teacher, **MISTAKES_AROUND_THE_TEACHER[mistake])
    assert largest_error(result, P, teacher) > 0.05
