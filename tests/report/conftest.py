"""Two small vocabularies whose tokens differ: byte-level BPE for the student, byte-fallback BPE for the teacher."""

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from crossdistill import ByteVocab
from crossdistill.tokens.families.byte_level import BYTE_TO_CHAR, bytes_to_piece


def make_byte_level(words: Sequence[str | bytes]) -> ByteVocab:
    """All bytes, then each word, merged byte by byte from its left; ids below 256 are the bytes themselves."""
    pieces = {BYTE_TO_CHAR[byte]: byte for byte in range(256)}
    merges = []
    for word in words:
        piece = bytes_to_piece(word.encode() if isinstance(word, str) else word)
        for end in range(2, len(piece) + 1):
            merge = (piece[: end - 1], piece[end - 1])
            if merge not in merges:
                merges.append(merge)
            pieces.setdefault(piece[:end], len(pieces))
    tokenizer = Tokenizer(models.BPE(pieces, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return ByteVocab.from_tokenizer(tokenizer)


def make_byte_fallback(words: Sequence[str]) -> ByteVocab:
    """The 256 fallback bytes, printable ASCII, then each word, merged character by character from its left."""
    pieces = {f"<0x{byte:02X}>": byte for byte in range(256)}
    pieces |= {char: 256 + index for index, char in enumerate(["▁", *map(chr, range(0x21, 0x7F))])}
    merges = []
    for word in words:
        piece = word.replace(" ", "▁")
        for char in piece:
            pieces.setdefault(char, len(pieces))
        for end in range(2, len(piece) + 1):
            merge = (piece[: end - 1], piece[end - 1])
            if merge not in merges:
                merges.append(merge)
            pieces.setdefault(piece[:end], len(pieces))
    tokenizer = Tokenizer(models.BPE(pieces, merges, byte_fallback=True, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    return ByteVocab.from_tokenizer(tokenizer)


@pytest.fixture(scope="session")
def student_vocab() -> ByteVocab:
    return make_byte_level(["120", "...", " is", " the", "ab", b"\xe2\x82", "<script>"])


@pytest.fixture(scope="session")
def teacher_vocab() -> ByteVocab:
    return make_byte_fallback(["...]", " is", " the", "bc", "€"])
