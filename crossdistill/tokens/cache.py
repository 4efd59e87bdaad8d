"""On-disk cache of large vocabularies, so that each tokenizer is read once and not once per process."""

import hashlib
import json
import os
import sys
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crossdistill.tokens.backends.huggingface import outline, read_entries
from crossdistill.tokens.source import VocabEntries

_FORMAT = 1  # of the files; raise it whenever entries are read differently
_MIN_ENTRIES = 20_000  # smaller vocabularies are read as fast as they are looked up
_NUM_SAMPLED = 4096
_OFF = "off"


def stored_entries(tokenizer: Any, backend: Any, control: frozenset[str]) -> VocabEntries:
    """The entries of a tokenizer, from the cache if it was read before.

    The cache is in ``$CROSSDISTILL_CACHE`` (``off`` turns it off), by default in ``crossdistill`` below the user's
    cache folder. The key is a hash of the ``tokenizer.json`` and of the tokenizer in memory: all added tokens, its
    steps, its size and every n-th entry. A tokenizer that was not loaded from a file is not cached. Files hold plain
    arrays and are written atomically; a damaged one is replaced, and a folder that cannot be written is ignored.

    Args:
        tokenizer: a Hugging Face tokenizer or a ``tokenizers.Tokenizer``.
        backend: the ``tokenizers.Tokenizer`` inside it.
        control: the added tokens that carry no bytes (:func:`crossdistill.tokens.special_tokens.control_tokens`).

    Raises:
        InputError: as :func:`crossdistill.tokens.backends.huggingface.read_entries` does.
    """
    folder, file = _folder(), _tokenizer_file(tokenizer)
    if folder is None or file is None or backend.get_vocab_size() < _MIN_ENTRIES:
        return read_entries(backend, control)
    path = folder / f"{_fingerprint(file, backend, control)}.npz"
    entries = _load(path)
    if entries is None:
        entries = read_entries(backend, control)
        _save(path, entries)
    return entries


def _folder() -> Path | None:
    setting = os.environ.get("CROSSDISTILL_CACHE")
    if setting == _OFF:
        return None
    if setting:
        return Path(setting)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdistill"
    except RuntimeError:
        return None  # the user has no home folder, as in some containers


def _tokenizer_file(tokenizer: Any) -> Path | None:
    """The ``tokenizer.json`` that a tokenizer was loaded from, in its folder or in the hub's cache."""
    name = getattr(tokenizer, "name_or_path", "")
    path = Path(name) / "tokenizer.json"
    if not name or path.is_file():
        return path if name else None
    hub = sys.modules.get("huggingface_hub")  # it is loaded if the tokenizer comes from the hub
    if hub is None:
        return None
    try:
        found = hub.try_to_load_from_cache(name, path.name)
    except ValueError:
        return None  # not the name of a repository
    return Path(found) if isinstance(found, str) else None


def _fingerprint(file: Path, backend: Any, control: frozenset[str]) -> str:
    size = backend.get_vocab_size()
    added = {k: [t.content, t.content in control] for k, t in sorted(backend.get_added_tokens_decoder().items())}
    sampled = [backend.id_to_token(k) for k in range(0, size, max(1, size // _NUM_SAMPLED))]
    seen = json.dumps([_FORMAT, outline(backend), size, added, sampled])
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256")
    return hashlib.sha256(content.digest() + seen.encode("utf-8")).hexdigest()


def _load(path: Path) -> VocabEntries | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            data, ends = arrays["data"].tobytes(), np.cumsum(arrays["lengths"]).tolist()
            byte_ids = tuple(None if token_id < 0 else token_id for token_id in arrays["byte_ids"].tolist())
            kind, encodes_any_bytes, keeps_spaces = json.loads(arrays["settings"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        return None  # missing or damaged
    pieces = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return VocabEntries(kind, pieces, byte_ids, encodes_any_bytes, keeps_spaces)


def _save(path: Path, entries: VocabEntries) -> None:
    arrays: dict[str, Any] = {
        "data": np.frombuffer(b"".join(entries.pieces), dtype=np.uint8),
        "lengths": np.fromiter(map(len, entries.pieces), dtype=np.int32, count=len(entries.pieces)),
        # an integer array cannot hold None
        "byte_ids": np.array([-1 if token_id is None else token_id for token_id in entries.byte_ids], dtype=np.int64),
        "settings": np.frombuffer(
            json.dumps([entries.kind, entries.encodes_any_bytes, entries.keeps_spaces]).encode(), dtype=np.uint8
        ),
    }
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # with the user's default permissions: a cache may be shared
            np.savez(file, **arrays)
        temporary.replace(path)
    except OSError:
        _remove(temporary)  # reading the tokenizer again costs a second at the next start, and nothing else


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
