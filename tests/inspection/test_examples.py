"""Examples are real excerpts of the documents."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from crossdistill import ByteVocab
from crossdistill.inspection import Document
from crossdistill.inspection.examples import (
    largest_chunks,
    never_one_to_one,
    student_rewrites,
    teacher_rewrites,
)
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.tokens.families.byte_level import BYTE_TO_CHAR

TEXT = "The quick brown fox: naïve café. 答案是 42。 Привет 🤗🤗 " * 3


def document(text: str, name: str = "a") -> Document:
    return Document("test", name, text.encode())


@pytest.mark.parametrize(("student", "teacher"), [("gpt2", "gemma"), ("gemma", "gpt2"), ("qwen", "llama2")])
def test_the_largest_chunks_are_in_the_text(vocabs, student, teacher):
    ours, theirs = vocabs[student], vocabs[teacher]
    documents = [document(TEXT), document("x ≥ 2√2 ∑xᵢ", "b")]
    read = read_documents(ours, theirs, documents)
    found = largest_chunks(read, ours, theirs, 3)
    assert 0 < len(found) <= 3
    assert found[0].size == sum(Measure.of(read).largest_chunk)
    assert [example.size for example in found] == sorted((example.size for example in found), reverse=True)
    data = {item.title: item.data for item in documents}
    for example in found:
        middle = b"".join(example.student)
        assert middle == b"".join(example.teacher)
        assert example.before + middle + example.after in data[example.document]
        example.before.decode(), example.after.decode()  # no character is cut


@pytest.mark.parametrize("num_padding", range(4))
def test_no_character_around_a_chunk_is_cut(vocabs, num_padding):
    padding = "a" * num_padding
    run = "界" * 10  # which both encode byte by byte
    text = f"{run}{padding}quick{padding}{run}"
    sides = vocabs["gpt2"], vocabs["gemma"]
    (example,) = largest_chunks(read_documents(*sides, [document(text)]), *sides, 1)
    assert min(len(example.before), len(example.after)) > 20
    assert example.before.decode() + b"".join(example.student).decode() + example.after.decode() in text


def test_chunks_that_are_one_to_one_are_no_examples(vocabs):
    read = read_documents(vocabs["gpt2"], vocabs["gpt2"], [document(TEXT)])
    assert largest_chunks(read, vocabs["gpt2"], vocabs["gpt2"], 5) == []


def test_at_most_two_of_a_document(vocabs):
    sides = vocabs["gpt2"], vocabs["gemma"]
    read = read_documents(*sides, [document(TEXT), document(TEXT, "b")])
    found = largest_chunks(read, *sides, 10)
    assert sorted(example.document for example in found) == ["test/a", "test/a", "test/b", "test/b"]


def test_rewritten_text_is_found(vocabs):
    text = "plain e\u0301 and plain again"  # qwen composes it
    read = read_documents(vocabs["gpt2"], vocabs["qwen"], [document(text)])
    assert student_rewrites(read, vocabs["gpt2"]) == []
    (rewrite,) = teacher_rewrites(read, vocabs["qwen"])
    assert rewrite.given != rewrite.decoded
    assert "e\u0301".encode() in rewrite.given
    assert "é".encode() in rewrite.decoded
    assert rewrite.given in text.encode()
    turned = read_documents(vocabs["qwen"], vocabs["gpt2"], [document(text)])
    assert student_rewrites(turned, vocabs["qwen"]) == [rewrite]
    assert teacher_rewrites(turned, vocabs["gpt2"]) == []  # it encodes what the student has written


def test_an_unknown_token_rewrites_nothing(vocabs, lossy):
    read = read_documents(vocabs["gpt2"], lossy, [document("12 ≥ 3, 答 4")])
    assert teacher_rewrites(read, lossy) == []


def test_text_after_an_unencodable_span_is_not_rewritten(vocabs):
    pieces = {char: byte for byte, char in BYTE_TO_CHAR.items() if byte != 1}
    tokenizer = Tokenizer(models.BPE(pieces, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    teacher = ByteVocab.from_tokenizer(tokenizer)
    assert teacher.unencodable == b"\x01"
    read = read_documents(vocabs["gpt2"], teacher, [document("a\x01\x01b \x01c")])
    assert teacher_rewrites(read, teacher) == []


def test_tokens_never_one_to_one(vocabs):
    ours, theirs = vocabs["gpt2"], vocabs["gemma"]
    documents = [document(TEXT), document("Привет, 42 fox", "b")]
    read = read_documents(ours, theirs, documents)
    used: dict[int, int] = {}
    paired: set[int] = set()
    for item in documents:
        left, right = ours.encode(item.data), theirs.encode(item.data)
        both = {0, *left.ends.tolist()} & {0, *right.ends.tolist()}
        spans = {(end - len(theirs.pieces[k]), end) for k, end in zip(right.ids, right.ends.tolist(), strict=True)}
        for k, end in zip(left.ids.tolist(), left.ends.tolist(), strict=True):
            used[k] = used.get(k, 0) + 1
            start = end - len(ours.pieces[k])
            if {start, end} <= both and (start, end) in spans:
                paired.add(k)
    found = {(token.piece, token.count) for token in never_one_to_one(read, ours)}
    assert found == {(ours.pieces[k], count) for k, count in used.items() if k not in paired}
    counts = [token.count for token in never_one_to_one(read, ours)]
    assert counts == sorted(counts, reverse=True)
    assert counts
    assert never_one_to_one([], ours) == []
