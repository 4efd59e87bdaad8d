"""SentencePiece models as their own library reads them."""

from importlib import import_module
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.tokens.families import sentencepiece
from crossdistill.tokens.source import Places, VocabEntries

_UNIGRAM = 1  # of TrainerSpec.ModelType
_ANCHOR = "."  # composes with nothing, so that a normaliser leaves it, and the white space beside it, alone


class SentencePieceSource:
    """A ``sentencepiece.SentencePieceProcessor``, without its dummy prefix.

    Its normaliser strips white space off the edges of a text in some models. A response stands in the middle of a
    conversation, so its edges are kept: it is normalised between two full stops and read as it is then.
    """

    def __init__(self, processor: Any):
        self._normaliser = _edited(processor, add_dummy_prefix=False)
        self._reader = _edited(
            processor, add_dummy_prefix=False, remove_extra_whitespaces=False, precompiled_charsmap=b""
        )
        silent = (processor.is_control, processor.is_unknown, processor.is_unused)
        spells_bytes = any(processor.is_byte(k) for k in range(processor.get_piece_size()))
        to_bytes = sentencepiece.piece_to_bytes if spells_bytes else sentencepiece.text_to_bytes
        pieces = [
            b"" if any(test(k) for test in silent) else to_bytes(processor.id_to_piece(k))
            for k in range(processor.get_piece_size())
        ]
        byte_ids: list[int | None] = [None] * 256
        for k in range(processor.get_piece_size()):
            if processor.is_byte(k):
                byte_ids[pieces[k][0]] = k
        self.entries = VocabEntries(_kind(processor), pieces, tuple(byte_ids), spells_bytes)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._reader.encode(self._normalised(text))
        return ids

    def merged(self, data: bytes) -> list[int]:
        return []  # entries of single bytes take no part in merges

    def segments(self, text: str) -> list[str]:
        return [text]

    def normalise(self, text: str) -> bytes:
        return sentencepiece.text_to_bytes(self._normalised(text))

    def places(self, text: str) -> Places:
        normalised = self._normalised(text)
        # of an unknown token the library gives the characters that it stands for
        sizes = [len(sentencepiece.text_to_bytes(piece)) for piece in self._reader.encode(normalised, out_type=str)]
        ends = np.cumsum(np.array(sizes, dtype=np.int64))
        return Places(np.array(self.ids(text), dtype=np.int64), ends - sizes, ends)

    def _normalised(self, text: str) -> str:
        between: str = self._normaliser.normalize(_ANCHOR + text + _ANCHOR)
        return between[len(_ANCHOR) : -len(_ANCHOR)]


def _edited(processor: Any, **settings: Any) -> Any:
    """A copy of the processor with other settings of its normaliser."""
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
