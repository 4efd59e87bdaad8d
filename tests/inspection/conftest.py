"""A tokenizer with entries for ASCII alone: everything else becomes an unknown token."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from crossdistill import ByteVocab


@pytest.fixture(scope="session")
def lossy() -> ByteVocab:
    return ascii_only()


def ascii_only() -> ByteVocab:
    """A Unigram without byte fallback."""
    pieces = [("<unk>", 0.0), ("▁", -1.0), *((chr(code), -2.0) for code in range(0x21, 0x7F))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return ByteVocab.from_tokenizer(tokenizer)
