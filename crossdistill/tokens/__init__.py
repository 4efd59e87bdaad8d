"""Token ids and their bytes, for any tokenizer whose bytes can be verified. numpy only."""

from crossdistill.tokens.backends.rwkv import World
from crossdistill.tokens.encoding import Encoding
from crossdistill.tokens.vocab import ByteVocab

__all__ = ["ByteVocab", "Encoding", "World"]
