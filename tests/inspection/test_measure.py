"""Figures on documents, against the definitions."""

from collections import Counter

import pytest

from crossdistill.inspection import Document, Measure, corpus, expected_coverage, minimum_coverage
from crossdistill.inspection.measure import TOLERANCE, read_documents
from tests.oracles.inspection import chunk_sizes
from tests.tokenizers_in_process import NAMES

TEXT = "The quick brown fox: naïve café, 12 + 30 = 42.\n\n答案是 42。 Привет 🤗\tend"
PAIRS = [("gpt2", "gemma"), ("gemma", "qwen"), ("qwen", "llama2"), ("llama3", "gpt2_digits")]


def document(text: str | bytes, name: str = "a") -> Document:
    return Document("test", name, text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_figures_are_those_of_the_definitions(vocabs, student, teacher):
    ours, theirs = vocabs[student], vocabs[teacher]
    documents = [document(TEXT, "a"), document("def f(x):  return   x * x", "b")]
    sizes: Counter[tuple[int, int]] = Counter()
    for item in documents:
        left, right = ours.encode(item.data), theirs.encode(item.data)
        sizes += chunk_sizes([ours.pieces[k] for k in left.ids], [theirs.pieces[k] for k in right.ids])
    measure = Measure.of(read_documents(ours, theirs, documents))
    assert measure.chunks == sizes
    assert measure.num_chunks == sum(sizes.values())
    assert measure.num_one_to_one == sizes[1, 1]
    num_tokens = sum(left * number for (left, _), number in sizes.items())
    assert measure.student_tokens == num_tokens
    assert measure.teacher_tokens == sum(right * number for (_, right), number in sizes.items())
    assert measure.one_to_one_share == pytest.approx(sizes[1, 1] / num_tokens)
    assert 0 < measure.one_to_one_share < 1
    in_shared = sum(left * number for (left, _), number in sizes.items() if left > 1)
    assert measure.shared_credit_share == pytest.approx(in_shared / num_tokens)
    assert sum(measure.largest_chunk) == max(left + right for left, right in sizes)
    assert measure.bytes == measure.supervised_bytes == sum(len(item.data) for item in documents)
    assert measure.coverage == 1.0


@pytest.mark.parametrize("name", ["gpt2", "gemma"])
def test_the_same_tokenizer_is_one_to_one(vocabs, name):
    measure = Measure.of(read_documents(vocabs[name], vocabs[name], [document(TEXT)]))
    assert set(measure.chunks) == {(1, 1)}
    assert measure.one_to_one_share == 1.0
    assert measure.shared_credit_share == 0.0


@pytest.mark.parametrize("student", NAMES)
def test_every_token_and_byte_is_accounted_for(vocabs, student):
    text = document(TEXT + " e\u0301 \u2581 <think>\x00\u200d  x", "mixed"), document(b"cut \xf0\x9f and \xff", "bytes")
    for teacher in NAMES:
        ours, theirs = vocabs[student], vocabs[teacher]
        for read in read_documents(ours, theirs, text):
            measure, alignment = Measure.of([read]), read.reading.alignment
            assert read.reading.data == ours.decode(read.ids)
            assert measure.bytes == len(read.reading.data) >= measure.supervised_bytes
            assert sum(left * number for (left, _), number in measure.chunks.items()) == alignment.student_splits[-1]
            assert sum(right * number for (_, right), number in measure.chunks.items()) == alignment.teacher_splits[-1]
            lost = set(range(len(read.ids))) - set(read.reading.student_positions.tolist())
            lost_bytes = sum(len(ours.pieces[read.ids[k]]) for k in lost)
            assert lost_bytes == measure.bytes - measure.supervised_bytes
            pieces = [ours.pieces[k] for k in read.ids[read.one_to_one_positions]]
            assert len(pieces) == measure.one_to_one_tokens
            assert bool(lost) <= (not theirs.encodes_any_bytes or len(theirs.unencodable) > 0)


def test_documents_add_up(vocabs):
    documents = [document(TEXT), document("x" * 50)]
    read = read_documents(vocabs["gpt2"], vocabs["gemma"], documents)
    whole, parts = Measure.of(read), [Measure.of([item]) for item in read]
    for name in ("bytes", "supervised_bytes", "student_tokens", "teacher_tokens", "one_to_one_tokens"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    assert whole.chunks == parts[0].chunks + parts[1].chunks


def test_nothing():
    assert Measure.of([]) == Measure()
    assert Measure().coverage == Measure().one_to_one_share == 1.0
    assert Measure().largest_chunk == (0, 0)


def test_what_the_student_cannot_write_is_no_loss_of_the_teacher(lossy, vocabs):
    (read,) = read_documents(lossy, vocabs["gpt2"], [document("12 + 30 ≥ 答")])
    measure = Measure.of([read])
    assert measure.unwritable_bytes == len("≥答".encode())
    assert measure.coverage == 1.0
    assert measure.bytes == len(b"12 + 30  ")


def test_what_the_teacher_cannot_read_is_lost(lossy, vocabs):
    text = "12 + 30 ≥ 答"
    (read,) = read_documents(vocabs["gpt2"], lossy, [document(text)])
    measure = Measure.of([read])
    assert measure.unwritable_bytes == 0
    assert measure.bytes == len(text.encode())
    assert measure.supervised_bytes < measure.bytes
    assert measure.coverage == measure.supervised_bytes / measure.bytes
    assert read.reading.data == text.encode()


def test_the_expected_coverage_is_that_of_the_corpus(lossy, vocabs):
    assert expected_coverage(vocabs["gpt2"], vocabs["gemma"]) == 1.0
    measure = Measure.of(read_documents(vocabs["gpt2"], lossy, corpus()))
    assert 0 < measure.coverage < 0.9
    assert expected_coverage(vocabs["gpt2"], lossy) == measure.coverage
    assert minimum_coverage(0.8) == pytest.approx(0.8 - TOLERANCE)
    assert minimum_coverage(0.01) == 0.0
