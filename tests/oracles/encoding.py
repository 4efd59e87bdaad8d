"""The bytes of an encoding's ids, from the rules of the tokenizers and not from the implementation."""

import unicodedata

LITERAL_SPACE = "▁".encode()


def expected_bytes(name: str, data: bytes) -> bytes:
    """The bytes that the ids of `data` must have with the in-process tokenizer of that name.

    They are `data` itself, except that the normaliser of "qwen" composes (NFC; broken UTF-8 stays) and that the
    SentencePiece styles cannot distinguish a literal U+2581 from a space.
    """
    if name == "qwen":
        text = data.decode("utf-8", "surrogateescape")
        return unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")
    if name in ("gemma", "llama2", "metaspace", "unigram"):
        return data.replace(LITERAL_SPACE, b" ")
    return data
