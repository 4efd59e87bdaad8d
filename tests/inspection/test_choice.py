"""Which objective is chosen, and that the reason names what decided."""

from collections import Counter

import pytest

from crossdistill.inspection import Measure
from crossdistill.inspection.advice import general_advice
from crossdistill.inspection.choice import choices, choose
from crossdistill.inspection.overlap import overlap
from crossdistill.objectives import VocabPair, get
from crossdistill.signal import Signal
from tests.objectives.cases import LETTERS_APART, vocab


def measure(spanning: int, of: int = 100):
    """A pair with so many of the student's tokens in chunks of two teacher tokens, the others in chunks of one."""
    chunks = Counter({(1, 2): spanning, (2, 1): (of - spanning) // 2, (1, 1): (of - spanning) % 2})
    return lambda: Measure(student_tokens=of, chunks=chunks)


def asked_for_nothing() -> Measure:
    raise AssertionError("the corpus decides nothing here")


@pytest.fixture(scope="module")
def pair(vocabs) -> VocabPair:
    return VocabPair(vocabs["gpt2"], vocabs["gemma"])


@pytest.mark.parametrize("signal", [Signal.SAMPLED, Signal.TOPK])
def test_a_teacher_that_gives_less_than_distributions_needs_no_look_at_the_pair(pair, signal):
    assert choose(signal, pair, asked_for_nothing).objective == "dpca"
    found = choose(signal, pair, asked_for_nothing, any_text=True)
    assert found.objective == "alm"
    assert get(found.objective, **found.options).signal is Signal.SAMPLED


def test_one_vocabulary_is_compared_whole(vocabs):
    same = VocabPair(vocabs["gpt2"], vocabs["gpt2"])
    assert choose(Signal.DENSE, same, asked_for_nothing).objective == "gkd"


@pytest.mark.parametrize(
    ("student_stops", "teacher_stops", "name"),
    [((0, 1), (1, 2), "gkd"), ((0,), (1,), "bpm"), ((), (), "gkd")],
)
def test_one_vocabulary_with_other_stop_tokens_is_not(vocabs, student_stops, teacher_stops, name):
    same = VocabPair(vocabs["gpt2"], vocabs["gpt2"], student_stops, teacher_stops)
    assert choose(Signal.DENSE, same, measure(0)).objective == name


@pytest.mark.parametrize("any_text", [False, True])
@pytest.mark.parametrize("spanning", [0, 2, 38, 99])
def test_distributions_are_compared_whatever_the_tokens_span(pair, spanning, any_text):
    """In arena B bpm won at 38 %."""
    choice = choose(Signal.DENSE, pair, measure(spanning), any_text)
    assert (choice.objective, choice.options) == ("bpm", {})
    assert f"{spanning}%" in choice.reason


def test_if_every_token_spans_several_the_sample_or_the_chunk_is_compared(pair):
    """Then no teacher token begins with a student token, and bpm would be refused."""
    assert choose(Signal.DENSE, pair, measure(100)).objective == "dpca"
    found = choose(Signal.DENSE, pair, measure(100), any_text=True)
    assert (found.objective, found.options) == ("alm", {})


@pytest.mark.parametrize("spanning", [0, 11, 99, 100])
@pytest.mark.parametrize("kind", ["two", "one", "apart"])
def test_the_advice_is_the_choice_that_a_run_makes(vocabs, kind, spanning):
    sides = {
        "two": (vocabs["gpt2"], vocabs["gemma"]),
        "one": (vocabs["gpt2"], vocabs["gpt2"]),
        "apart": (vocab(LETTERS_APART[0]), vocab(LETTERS_APART[1])),
    }[kind]
    both, total = VocabPair(*sides), measure(spanning)()
    advised = choices(total, overlap(*sides))
    for words, signals in zip(advised, ([Signal.DENSE], [Signal.TOPK, Signal.SAMPLED]), strict=True):
        for signal in signals:
            assert words.split(" ")[0] == str(choose(signal, both, lambda: total))
    assert all(words in general_advice(total, overlap(*sides)) for words in advised)


def test_the_share_of_spanning_tokens_counts_all_chunks_of_several_teacher_tokens():
    total = Measure(student_tokens=10, chunks=Counter({(1, 1): 3, (1, 3): 2, (2, 3): 1, (3, 1): 1}))
    assert total.spanning_share == (2 * 1 + 1 * 2) / 10
    assert Measure().spanning_share == 0.0
