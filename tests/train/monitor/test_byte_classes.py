"""Digits, white space and the rest, against a walk along the bytes one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.align import Coverage
from crossdistill.chat import ensure_template
from crossdistill.distill.rollout import Rollout
from crossdistill.train.monitor.byte_classes import ByteClass, ClassSums, classes_of_bytes, classes_of_chunks
from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.template_warnings import HistoryCounts
from tests.distill.fake_teacher import PROMPT, FakeTeacher, scored_by, student_logprobs, too_long
from tests.tokenizers_in_process import NAMES
from tests.tokens.test_vocab import without_entries

R, D, W = ByteClass.REST, ByteClass.DIGITS, ByteClass.WHITE_SPACE
TEXT = "In 2024,\n\n  ٣٤ cafés\u3000sold 1,250 é 7²\t"


def slowly(data: bytes) -> list[ByteClass]:
    """Each character in turn, of at most 4 bytes; a byte that begins none is REST."""
    classes: list[ByteClass] = []
    while len(classes) < len(data):
        at = len(classes)
        for size in range(1, 5):
            try:
                char = data[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            classes += [D if char.isdecimal() else W if char.isspace() else R] * size
            break
        else:
            classes.append(R)
    return classes


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a 1\n", [R, W, D, W]),
        ("٣é".encode(), [D, D, R, R]),
        ("\u3000x".encode(), [W, W, W, R]),
        ("𝟙".encode(), [D] * 4),
        ("²½".encode(), [R] * 4),  # numbers, but not decimal digits
        ("٣".encode()[:1] + b"1", [R, D]),
        (b"\xed\xa0\x80 \xff7", [R, R, R, W, R, D]),
    ],
)
def test_classes_worked_out_by_hand(data, expected):
    assert classes_of_bytes(data).tolist() == expected == slowly(data)


@given(st.one_of(st.binary(max_size=40), st.text(alphabet="a 1\n٣é𝟙\u2003\u0967", max_size=20).map(str.encode)))
def test_classes_of_any_bytes(data):
    assert classes_of_bytes(data).tolist() == slowly(data)


def chunk_by_chunk(scored, teacher_logprobs):
    """Class, nats and bytes of every chunk, walking along the tokens."""
    classes, found = slowly(scored.response.data), []
    splits, ends = scored.alignment, [0, *scored.aligned.student_ends.tolist()]
    for chunk in range(splits.num_chunks):
        first, last = splits.student_splits[chunk : chunk + 2].tolist()
        size = int(splits.byte_splits[chunk + 1] - splits.byte_splits[chunk])
        kinds = classes[ends[last] - size : ends[last]]
        kind = D if D in kinds else W if set(kinds) == {W} else R
        nats = sum(float(scored.student_logprobs[k]) for k in scored.aligned.student_positions[first:last])
        mine = scored.aligned.teacher_positions[slice(*splits.teacher_splits[chunk : chunk + 2])]
        found.append((kind, nats - sum(float(teacher_logprobs[k]) for k in mine), size))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_gap_of_each_class_is_that_of_its_chunks(sides, student, name):
    completions = [student.encode(text).ids.tolist() for text in (TEXT, "12 + 30 = 42", "none of them", "")]
    scored = scored_by(FakeTeacher(*sides[name]), student, [], completions)
    sums = ClassSums.of(scored)
    chunks = [chunk for item in scored for chunk in chunk_by_chunk(item, item.teacher.logprobs)]
    for kind in ByteClass:
        assert sums.gap_nats[kind] == pytest.approx(sum(nats for its, nats, _ in chunks if its == kind))
        assert sums.gap_bytes[kind] == sum(size for its, _, size in chunks if its == kind)
        assert sums.sampled_bytes[kind] == sum(slowly(item.response.data).count(kind) for item in scored)
    assert sums.gap_nats.sum() == pytest.approx(sum(item.gap_nats for item in scored))
    assert sums.gap_bytes.sum() == sum(item.gap_bytes for item in scored)
    assert (sums.gap_bytes > 0).all()


def test_what_the_teacher_cannot_encode_is_sampled_but_has_no_gap(student):
    lacking = PreTrainedTokenizerFast(tokenizer_object=without_entries("٣".encode()[:1]))
    ensure_template(lacking)
    teacher = FakeTeacher(lacking, ByteVocab.from_tokenizer(lacking))
    ids = student.encode("a ٣\n\n 25 ").ids.tolist()
    (scored,) = scored_by(teacher, student, [], [ids])
    sums = ClassSums.of([scored])
    assert sums.sampled_bytes.tolist() == [1, 4, 5]
    expected = chunk_by_chunk(scored, scored.teacher.logprobs)
    assert sums.gap_bytes[D] == sum(size for kind, _, size in expected if kind == D) == 3  # 25, and the rest of ٣
    assert sums.gap_nats.sum() == pytest.approx(scored.gap_nats)
    kinds = classes_of_chunks([scored], [classes_of_bytes(scored.response.data)])
    assert kinds.tolist() == [kind for kind, *_ in expected]


def test_a_digit_that_two_chunks_share_counts_for_both(sides, student):
    """Both models encode it byte by byte."""
    data = "٣".encode()
    ids = [student.encode(bytes([byte])).ids[0] for byte in data]
    (scored,) = scored_by(FakeTeacher(*sides["gpt2"]), student, [], [ids])
    classes = classes_of_chunks([scored], [classes_of_bytes(scored.response.data)])
    assert set(classes.tolist()) == {D}


def test_nothing_sampled_and_nothing_scored(sides, student, special):
    _, stop = special
    assert all((part == 0).all() for part in vars(ClassSums.of([])).values())
    teacher = FakeTeacher(*sides["gpt2"], [too_long])
    scored = scored_by(teacher, student, [stop], [student.encode("1 2").ids.tolist(), [stop]])
    sums = ClassSums.of(scored)
    assert sums.sampled_bytes.tolist() == [0, 2, 1]
    assert (sums.gap_nats == 0).all()
    assert (sums.gap_bytes == 0).all()


def test_the_figures_of_a_rollout(sides, student, special):
    _, stop = special
    completions = [[*student.encode(text).ids.tolist(), stop] for text in (TEXT, "12 + 30 = 42")]
    scored = scored_by(FakeTeacher(*sides["gemma"]), student, [stop], completions)
    rollout = Rollout.of([PROMPT] * 2, [[1], [1]], completions, None, None)
    coverage = Coverage()
    for item in scored:
        coverage.add(item.coverage)
    sums = RolloutSums.of(rollout, scored, coverage, HistoryCounts())
    figures = sums.metrics()
    chunks = [chunk for item in scored for chunk in chunk_by_chunk(item, item.teacher.logprobs)]
    for name, kind in (("digits", D), ("white_space", W), ("rest", R)):
        mine = [(nats, size) for its, nats, size in chunks if its == kind]
        expected = sum(nats for nats, _ in mine) / sum(size for _, size in mine)
        assert figures[f"teacher_gap/{name}"] == pytest.approx(expected)
    data = b"".join(item.response.data for item in scored)
    assert figures["share/digits"] == pytest.approx(slowly(data).count(D) / len(data))
    assert figures["share/white_space"] == pytest.approx(slowly(data).count(W) / len(data))
    nats = -np.concatenate([student_logprobs(ids) for ids in completions])
    assert figures["sampled_entropy"] == pytest.approx(nats.mean())
    twice = RolloutSums(*sums.values())
    twice.add(sums.values())  # sums of two processes
    assert {name: value for name, value in twice.metrics().items() if name != "teacher_gap_se"} == pytest.approx(
        {name: value for name, value in figures.items() if name != "teacher_gap_se"}
    )
