import json
import math

import pytest

from crossdistill import ByteVocab, align
from crossdistill.align import DropReason
from crossdistill.report.alignment.view import ChunkView, DroppedToken, SampleView, TokenView, sample_view
from tests.report.views import view_of


def texts(tokens: tuple[TokenView, ...]) -> list[str]:
    return [token.text for token in tokens]


def test_the_papers_case_study(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of("120 is...]", student_vocab, teacher_vocab)
    assert [(texts(chunk.student), texts(chunk.teacher), chunk.kind, chunk.byte_span) for chunk in view.chunks] == [
        (["120"], ["1", "2", "0"], "1:n", (0, 3)),
        (["␣is"], ["␣is"], "1:1", (3, 6)),
        (["...", "]"], ["...]"], "n:1", (6, 10)),
    ]
    assert [chunk.text for chunk in view.chunks] == ["120", "␣is", "...]"]
    assert view.one_to_one_share == 1 / 4
    assert view.largest_chunk is view.chunks[0]


def test_crossing_tokens_are_n_to_m(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    (chunk,) = view_of("abc", student_vocab, teacher_vocab).chunks
    assert (texts(chunk.student), texts(chunk.teacher), chunk.kind) == (["ab", "c"], ["a", "bc"], "n:m")


def test_half_characters_show_bytes_and_the_chunk_its_character(
    student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    (chunk,) = view_of("€", student_vocab, teacher_vocab).chunks
    assert texts(chunk.student) == [r"\xe2\x82", r"\xac"]
    assert texts(chunk.teacher) == ["€"]
    assert (chunk.text, chunk.characters) == ("€", None)


def test_chunks_inside_a_character_name_it(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    first, second = view_of("é", student_vocab, teacher_vocab).chunks
    assert (first.kind, first.text, first.characters) == ("1:1", r"\xc3", "é")
    assert (second.kind, second.text, second.characters) == ("1:1", r"\xa9", "é")


def test_log_probabilities_and_their_sums(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of(
        "120...]",
        student_vocab,
        teacher_vocab,
        student_logprobs=[-2.0, -0.5, -0.25],
        teacher_logprobs=[-0.5, -0.25, -0.125, -1.0],
        advantages=[1.125, -0.25, math.nan],
    )
    number, dots = view.chunks
    assert (number.student_logprob, number.teacher_logprob, number.log_ratio) == (-2.0, -0.875, 1.125)
    assert [token.advantage for token in dots.student] == [-0.25, None]
    assert dots.log_ratio == -0.25
    assert all(token.advantage is None for token in number.teacher)


def test_without_log_probabilities_there_are_no_sums(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    (chunk,) = view_of("120", student_vocab, teacher_vocab).chunks
    assert chunk.log_ratio is None
    (chunk,) = view_of("120", student_vocab, teacher_vocab, student_logprobs=[-1.0]).chunks
    assert (chunk.student_logprob, chunk.teacher_logprob, chunk.log_ratio) == (-1.0, None, None)
    assert chunk.kind == "1:n"


def test_a_teacher_value_that_is_not_finite_drops_its_chunk(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of("120 is", student_vocab, teacher_vocab, teacher_logprobs=[-1.0, math.nan, -1.0, -1.0])
    assert [(chunk.kind, chunk.reason) for chunk in view.chunks] == [("dropped", "non_finite"), ("1:1", None)]
    assert view.chunks[0].teacher[1].logprob is None
    assert view.one_to_one_share == 1.0


def test_stop_and_dropped_tokens_keep_their_places(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of(
        "...] is",
        student_vocab,
        teacher_vocab,
        stop=(TokenView("<|end|>", -0.5), TokenView("</s>", -0.25)),
        dropped=[
            DroppedToken(3, "<late>", DropReason.STOP_TOKEN),
            DroppedToken(1, "<inside>", DropReason.SPECIAL_TOKEN),
            DroppedToken(0, "<first>", DropReason.SPECIAL_TOKEN),
        ],
    )
    assert [(chunk.text, chunk.kind, chunk.byte_span) for chunk in view.chunks] == [
        ("<first>", "dropped", (0, 0)),
        ("...]", "n:1", (0, 4)),
        ("<inside>", "dropped", (4, 4)),
        ("␣is", "1:1", (4, 7)),
        ("<late>", "dropped", (7, 7)),
        ("<|end|>", "stop", (7, 7)),
    ]
    assert view.chunks[4].reason == "stop_token"
    assert len(view.aligned_chunks) == 2
    assert view.one_to_one_share == 1 / 3


def test_the_empty_response(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of("", student_vocab, teacher_vocab, prompt="why?\x1b")
    assert view == SampleView("why?\\x1b", ())
    assert view.largest_chunk is None
    assert view.one_to_one_share == 1.0


def test_wrong_lengths_are_refused(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    with pytest.raises(ValueError, match="2 values for 1 tokens"):
        view_of("120", student_vocab, teacher_vocab, student_logprobs=[-1.0, -1.0])
    with pytest.raises(ValueError, match="before token 9, which does not exist"):
        view_of("120", student_vocab, teacher_vocab, dropped=[DroppedToken(9, "<x>", DropReason.SPECIAL_TOKEN)])
    encoding = student_vocab.encode("120")
    alignment = align(encoding.ends, encoding.ends)
    with pytest.raises(ValueError, match="1 student and 0 teacher tokens, but the alignment has 1 and 1"):
        sample_view(encoding.ids, student_vocab, [], student_vocab, alignment)


def test_json_round_trip(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of(
        "120 é",
        student_vocab,
        teacher_vocab,
        prompt="p",
        note="n",
        student_logprobs=[-1.0, -2.0, -3.0, -math.inf],
        stop=(TokenView("<|end|>"), TokenView("</s>")),
        dropped=[DroppedToken(1, "<t>", DropReason.SPECIAL_TOKEN)],
    )
    restored = SampleView.from_dict(json.loads(json.dumps(view.as_dict(), allow_nan=False)))
    assert restored == view
    assert isinstance(restored.chunks[0], ChunkView)
