"""Each real tokenizer on its own: its bytes, its ids, its unencodable spans. `make test-matrix`."""

import pytest

from tests.matrix.corpus import cases
from tests.matrix.loading import Real, golden
from tests.matrix.own_ids import own_ids
from tests.matrix.truth import Rewriter

pytestmark = pytest.mark.matrix
NUM_TOKENIZERS, NUM_FAMILIES = 16, 12  # at least
# one family per maker and algorithm: variants, and tokenizers that differ only in added tokens, count once
SAME_FAMILY = {
    "gpt-oss": "gpt-4o",
    "gpt-3.5 (tiktoken)": "gpt-3.5",
    "xlm-roberta (Metaspace)": "xlm-roberta",
    "mistral-v1": "llama-2",
    "mistral-v3": "llama-2",
    "phi-3": "llama-2",
    "starcoder-2": "smollm2",
}


def test_there_are_enough(reals: dict[str, Real]) -> None:
    assert len(reals) >= NUM_TOKENIZERS
    assert len({SAME_FAMILY.get(name, name) for name in reals}) >= NUM_FAMILIES
    assert len({real.vocab.kind for real in reals.values()}) >= 5


def test_bytes_are_those_of_the_file(reals: dict[str, Real]) -> None:
    for name, real in reals.items():
        read = list(real.vocab.pieces)
        if real.vocab.kind == "wordpiece":  # white space is not kept by this family
            read = [piece.removeprefix(b" ") for piece in read]
        wrong = [index for index, (ours, theirs) in enumerate(zip(read, real.pieces, strict=True)) if ours != theirs]
        assert not wrong, (name, wrong[0], read[wrong[0]], real.pieces[wrong[0]])


def test_tokenizers_made_from_other_formats_give_the_golden_ids(reals: dict[str, Real]) -> None:
    """The golden ids of llama.cpp, with dummy prefix, and with control tokens in text."""
    compared = 0
    for name, real in reals.items():
        for text, ids in golden(name):
            assert real.backend is not None
            assert real.backend.encode(text, add_special_tokens=False).ids == ids, (name, text)
            compared += 1
    assert compared >= 11 * 46


def test_ids_are_the_tokenizers_own(reals: dict[str, Real], rewriters: dict[str, Rewriter]) -> None:
    whole = [case.data.decode("utf-8") for case in cases() if _is_text(case.data)]
    texts = list(dict.fromkeys(whole + [text.strip() for text in whole]))
    for name, real in reals.items():
        compared = 0
        for text in texts + [text for text, _ in golden(name)]:
            expected = own_ids(real, text, rewriters[name])
            if expected is not None:
                assert real.vocab.encode(text).ids.tolist() == expected, (name, text)
                compared += 1
        assert compared >= len(texts) // 3, (name, compared)


def test_unencodable_spans_contain_nothing_that_the_tokenizer_can_encode(reals: dict[str, Real]) -> None:
    for name, real in reals.items():
        for case in cases():
            if case.is_long:
                continue
            for start, end in real.vocab.encode(case.data).unencodable_spans.tolist():
                assert _is_unencodable(real, case.data[start:end]), (name, case, case.data[start:end])


def _is_unencodable(real: Real, data: bytes) -> bool:
    """Whether the bytes have no entries, or the tokenizer itself drops the characters or makes them unknown tokens."""
    if real.vocab.encodes_any_bytes:
        return set(data) <= set(real.vocab.unencodable)
    if not _is_text(data):
        return True
    assert real.backend is not None
    ids = real.backend.encode(data.decode("utf-8"), add_special_tokens=False).ids
    return not ids or any(not real.pieces[index] for index in ids)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
