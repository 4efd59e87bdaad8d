"""Tests the brute-force truth itself, by hand and with deliberate errors. Part of `make test`."""

import unicodedata

import numpy as np
import pytest

from crossdistill import ByteVocab
from tests.matrix import ours, truth
from tests.matrix.corpus import Case, cases
from tests.matrix.run import Side
from tests.matrix.sampling import Sampler
from tests.matrix.truth import Rewriter
from tests.oracles.alignment import prefixes

PLAIN = Rewriter(str, str)
COMPOSING = Rewriter(lambda text: unicodedata.normalize("NFC", text), str)
WORDS = Rewriter(
    lambda text: "".join(char for char in text if not unicodedata.combining(char)),
    lambda text: text.replace(" ", ""),
    keeps_spaces=False,
)


def places(text: str, pieces: list[str], rewrite: Rewriter) -> dict[int, int]:
    return truth.true_ends(text.encode(), [[piece.encode() for piece in pieces]], [], rewrite).places


def test_plain_text_ends_where_its_pieces_do() -> None:
    assert places("ab cé", ["ab", " c", "é"], PLAIN) == {2: 1, 4: 2, 6: 3}


def test_rewritten_character_has_no_ends_inside() -> None:
    assert places("e\u0301x", ["é", "x"], COMPOSING) == {3: 1, 4: 2}
    halves = [[b"a", b"\xc3", b"\xa9"]]  # é as two tokens: neither half is a prefix of e + accent
    assert truth.true_ends("ae\u0301".encode(), halves, [], COMPOSING).places == {1: 1, 4: 3}


def test_unchanged_character_beside_a_rewritten_one_has_ends_inside() -> None:
    pieces = [["é".encode(), b"\xe4\xbd", b"\xa0"]]
    assert truth.true_ends("e\u0301你".encode(), pieces, [], COMPOSING).places == {3: 1, 5: 2, 6: 3}


def test_white_space_goes_with_the_word_after_it_and_deleted_marks_with_the_one_before() -> None:
    assert places("ab  cd ", ["ab", "cd"], WORDS) == {2: 1, 7: 2}
    assert places("a\u0323b", ["a", "b"], WORDS) == {3: 1, 4: 2}


def test_an_unencodable_span_counts_as_a_token_that_ends_where_it_does() -> None:
    ends = truth.true_ends(b"a\x00b", [[b"a"], [b"b"]], [(1, 2)], PLAIN)
    assert ends.places == {1: 1, 2: 2, 3: 3}
    assert truth.chunks([1, 3], ends) == [(0, 1), (1, 3)]
    assert [truth.is_lost(chunk, ends.spans) for chunk in truth.chunks([1, 3], ends)] == [False, True]


def test_tokens_with_other_bytes_are_refused() -> None:
    with pytest.raises(AssertionError, match="made of b'ab'"):
        places("ab", ["a", "c"], PLAIN)


def test_truth_is_the_set_of_common_prefixes(vocabs: dict[str, ByteVocab]) -> None:
    """Against the oracle of the aligner, which compares every pair of prefixes."""
    student, teacher = vocabs["llama3"], vocabs["gemma"]
    compared = 0
    for case in cases():
        mine, theirs = (vocab.encode(case.data).ids.tolist() for vocab in (student, teacher))
        if len(case.data) > 100 or teacher.decode(theirs) != case.data:
            continue
        sides = [[vocab.pieces[index] for index in side] for vocab, side in ((student, mine), (teacher, theirs))]
        ends = truth.true_ends(case.data, [sides[1]], [], PLAIN)
        common = set(prefixes(sides[0])) & set(prefixes(sides[1])) - {b""}
        found = truth.chunks(student.ends(mine).tolist(), ends)
        assert [end for _, end in found] == sorted(map(len, common)), case
        compared += 1
    assert compared > 30


def test_in_process_tokenizers_score_perfectly_and_a_broken_one_does_not(
    vocabs: dict[str, ByteVocab], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher = vocabs["gpt2"], vocabs["llama3"]
    side = Side(teacher, list(teacher.pieces), PLAIN)
    case = Case("test", "text", "The quick brown fox, naïve café 🤗".encode())
    for ids in Sampler(student).responses(case):
        expected = side.truth(case.data)
        right = ours.score(student, ids, side.vocab, expected)  # type: ignore[arg-type]
        assert right.is_perfect and right.true > 5 and right.total == len(case.data)
    moved = teacher.encode(case.data)
    moved = moved._replace(ends=np.append(moved.ends[:-1] - 1, moved.ends[-1]))
    monkeypatch.setattr(side.vocab, "encode", lambda data: moved)
    wrong = ours.score(student, ids, side.vocab, expected)  # type: ignore[arg-type]
    assert wrong.wrong and wrong.found < wrong.true and wrong.unaccounted == 0


def test_split_ids_have_the_same_bytes(vocabs: dict[str, ByteVocab]) -> None:
    case = Case("test", "text", b"The quick brown fox jumps over the lazy dog")
    canonical, split = Sampler(vocabs["gpt2"]).responses(case)
    assert len(split) > len(canonical)
    assert vocabs["gpt2"].decode(split) == vocabs["gpt2"].decode(canonical) == case.data


def test_cases_are_named_once() -> None:
    names = [(case.group, case.name) for case in cases()]
    assert len(names) == len(set(names))
