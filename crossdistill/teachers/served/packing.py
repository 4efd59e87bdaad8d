"""A score as bytes, and back."""

import hashlib
from struct import Struct

import numpy as np

from crossdistill.teachers.served.api.answers import PromptLogprobs

_HEADER = Struct("<QQ")  # positions, tokens a position
_DIGEST_BYTES = hashlib.sha256().digest_size


def pack(key: bytes, value: PromptLogprobs) -> bytes:
    """Write the shape, the arrays (little-endian) and a checksum of both and the key."""
    k = 0 if value.top_ids is None else value.top_ids.shape[1]
    arrays = [value.logprobs.astype("<f4")]
    if value.top_ids is not None and value.top_logprobs is not None:
        arrays += [value.top_ids.astype("<i8"), value.top_logprobs.astype("<f4")]
    content = _HEADER.pack(len(value.logprobs), k) + b"".join(array.tobytes() for array in arrays)
    return content + hashlib.sha256(key + content).digest()


def unpack(key: bytes, row: object) -> PromptLogprobs | None:
    """Read a score; None if the row is not what :func:`pack` wrote for this key."""
    if not isinstance(row, bytes) or len(row) < _HEADER.size + _DIGEST_BYTES:
        return None
    content, digest = row[:-_DIGEST_BYTES], row[-_DIGEST_BYTES:]
    if hashlib.sha256(key + content).digest() != digest:
        return None
    n, k = _HEADER.unpack_from(content)
    logprobs = np.frombuffer(content, "<f4", n, _HEADER.size).copy()
    if k == 0:
        return PromptLogprobs(logprobs)
    at = _HEADER.size + logprobs.nbytes
    ids = np.frombuffer(content, "<i8", n * k, at).reshape(n, k).copy()
    return PromptLogprobs(logprobs, ids, np.frombuffer(content, "<f4", n * k, at + ids.nbytes).reshape(n, k).copy())
