"""SentencePiece models, tokenised by their own library."""

from importlib import import_module
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.tokens.families import sentencepiece
from crossdistill.tokens.source import TokenSpans, VocabEntries

_UNIGRAM = 1  # of TrainerSpec.ModelType
_ANCHOR = "."  # composes with nothing, so a normaliser changes neither it nor the white space next to it


class SentencePieceSource:
    """A ``sentencepiece.SentencePieceProcessor``, without its dummy prefix.

    In some models the normaliser strips white space from the edges of a text. A response is in the middle of a
    conversation, so its edges are kept: it is normalised between two full stops and then tokenised as it is.

    Raises:
        InputError: protobuf, which reading the model needs, is not installed.
    """

    def __init__(self, processor: Any):
        self._normaliser = _edited(processor, add_dummy_prefix=False)
        self._reader = _edited(
            processor, add_dummy_prefix=False, remove_extra_whitespaces=False, precompiled_charsmap=b""
        )
        without_bytes = (processor.is_control, processor.is_unknown, processor.is_unused)
        encodes_any_bytes = any(processor.is_byte(k) for k in range(processor.get_piece_size()))
        to_bytes = sentencepiece.piece_to_bytes if encodes_any_bytes else sentencepiece.text_to_bytes
        pieces = [
            b"" if any(test(k) for test in without_bytes) else to_bytes(processor.id_to_piece(k))
            for k in range(processor.get_piece_size())
        ]
        byte_ids: list[int | None] = [None] * 256
        for k in range(processor.get_piece_size()):
            if processor.is_byte(k):
                byte_ids[pieces[k][0]] = k
        self.entries = VocabEntries(_kind(processor), pieces, tuple(byte_ids), encodes_any_bytes)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._reader.encode(self._normalised(text))
        return ids

    def merged(self, data: bytes) -> list[int]:
        return []  # entries of single bytes take no part in merges

    def segments(self, text: str) -> list[str]:
        return [text]

    def normalise(self, text: str) -> bytes:
        return sentencepiece.text_to_bytes(self._normalised(text))

    def token_spans(self, text: str) -> TokenSpans:
        normalised = self._normalised(text)
        # for an unknown token the library gives the characters that it covers
        sizes = [len(sentencepiece.text_to_bytes(piece)) for piece in self._reader.encode(normalised, out_type=str)]
        ends = np.cumsum(np.array(sizes, dtype=np.int64))
        return TokenSpans(np.array(self.ids(text), dtype=np.int64), ends - sizes, ends)

    def _normalised(self, text: str) -> str:
        between: str = self._normaliser.normalize(_ANCHOR + text + _ANCHOR)
        return between[len(_ANCHOR) : -len(_ANCHOR)]


def _edited(processor: Any, **settings: Any) -> Any:
    """A copy of the processor with other normaliser settings."""
    model = _model_of(processor)
    for name, value in settings.items():
        setattr(model.normalizer_spec, name, value)
    return type(processor)(model_proto=model.SerializeToString())


def _kind(processor: Any) -> str:
    is_unigram = _model_of(processor).trainer_spec.model_type == _UNIGRAM
    return "sentencepiece_unigram" if is_unigram else "sentencepiece_bpe"


def _model_of(processor: Any) -> Any:
    try:
        formats: Any = import_module("sentencepiece.sentencepiece_model_pb2")
    except ImportError as error:
        raise InputError(f"reading a SentencePiece model needs protobuf ({error}): pip install protobuf.") from None
    return formats.ModelProto.FromString(processor.serialized_model_proto())
