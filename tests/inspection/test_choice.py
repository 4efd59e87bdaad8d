"""Which objective is chosen, and that the reason names what decided."""

import pytest

from crossdistill.inspection import Measure
from crossdistill.inspection.advice import general_advice
from crossdistill.inspection.choice import ENOUGH_ONE_TO_ONE, NUM_TOP, choices, choose
from crossdistill.inspection.overlap import overlap
from crossdistill.objectives import VocabPair, get
from crossdistill.signal import Signal
from tests.objectives.cases import LETTERS_APART, vocab


def measure(one_to_one: int, of: int = 100):
    return lambda: Measure(student_tokens=of, one_to_one_tokens=one_to_one)


def asked_for_nothing() -> Measure:
    raise AssertionError("the corpus decides nothing here")


@pytest.fixture(scope="module")
def pair(vocabs) -> VocabPair:
    return VocabPair(vocabs["gpt2"], vocabs["gemma"])


def test_a_teacher_that_scores_samples_alone_needs_no_look_at_the_pair(pair):
    assert choose(Signal.SAMPLED, None, pair, asked_for_nothing).objective == "dpca"
    found = choose(Signal.SAMPLED, None, pair, asked_for_nothing, any_text=True)
    assert found.objective == "alm"
    assert get(found.objective, **found.options).signal is Signal.SAMPLED


def test_one_vocabulary_is_compared_whole(vocabs):
    same = VocabPair(vocabs["gpt2"], vocabs["gpt2"])
    assert choose(Signal.DENSE, None, same, asked_for_nothing).objective == "gkd"


@pytest.mark.parametrize(
    ("student_stops", "teacher_stops", "name"),
    [((0, 1), (1, 2), "gkd"), ((0,), (1,), "strict"), ((), (), "gkd")],
)
def test_one_vocabulary_with_other_stop_tokens_is_not(vocabs, student_stops, teacher_stops, name):
    same = VocabPair(vocabs["gpt2"], vocabs["gpt2"], student_stops, teacher_stops)
    assert choose(Signal.DENSE, None, same, measure(100)).objective == name


@pytest.mark.parametrize(("one_to_one", "name"), [(80, "strict"), (50, "strict"), (49, "bpm"), (0, "bpm")])
def test_whole_distributions_are_compared_where_chunks_are_one_to_one(pair, one_to_one, name):
    choice = choose(Signal.DENSE, None, pair, measure(one_to_one))
    assert (choice.objective, choice.options) == (name, {})
    assert f"{one_to_one}%" in choice.reason
    assert ENOUGH_ONE_TO_ONE == 0.5


@pytest.mark.parametrize(("limit", "top_k"), [(None, NUM_TOP), (5, 5), (1000, NUM_TOP)])
def test_a_server_is_asked_for_no_more_than_it_gives(pair, limit, top_k):
    choice = choose(Signal.TOPK, limit, pair, measure(80))
    assert (choice.objective, choice.options) == ("strict", {"top_k": top_k})
    assert choose(Signal.TOPK, limit, pair, measure(20)).objective == "dpca"
    assert choose(Signal.TOPK, 1, pair, asked_for_nothing).objective == "dpca"
    assert choose(Signal.TOPK, limit, pair, measure(20), any_text=True).objective == "alm"


def test_vocabularies_that_share_nothing_are_compared_by_bytes():
    apart = VocabPair(vocab(LETTERS_APART[0]), vocab(LETTERS_APART[1]))
    assert apart.num_shared == 0
    assert choose(Signal.DENSE, None, apart, asked_for_nothing).objective == "bpm"


@pytest.mark.parametrize("one_to_one", [0, 49, 50, 100])
@pytest.mark.parametrize("kind", ["two", "one", "apart"])
def test_the_advice_is_the_choice_that_a_run_makes(vocabs, kind, one_to_one):
    sides = {
        "two": (vocabs["gpt2"], vocabs["gemma"]),
        "one": (vocabs["gpt2"], vocabs["gpt2"]),
        "apart": (vocab(LETTERS_APART[0]), vocab(LETTERS_APART[1])),
    }[kind]
    both, total = VocabPair(*sides), measure(one_to_one)()
    advised = choices(total, overlap(*sides))
    for words, signal in zip(advised, (Signal.DENSE, Signal.TOPK, Signal.SAMPLED), strict=True):
        choice = choose(signal, None, both, lambda: total)
        assert words.split(" ")[0] == choice.objective
        for option, value in choice.options.items():
            assert f"{option} = {value}" in words
    assert all(words in general_advice(total, overlap(*sides)) for words in advised)
