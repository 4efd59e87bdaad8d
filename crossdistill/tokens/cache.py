"""The entries of large vocabularies on disk, so that they are read once for each tokenizer and not once a process."""

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

_FORMAT = 1  # of the files; raise it whenever an entry's bytes are read in another way
_MIN_ENTRIES = 20_000  # below, reading is as fast as looking it up
_NUM_SAMPLED = 4096
_OFF = "off"


def stored_entries(tokenizer: Any, backend: Any, control: frozenset[str]) -> VocabEntries:
    """The entries of `tokenizer`, from the cache where it was read before.

    The cache lies in ``$CROSSDISTILL_CACHE`` (``off`` turns it off), else in ``crossdistill`` under the user's cache
    folder. A tokenizer is known again by the bytes of its ``tokenizer.json`` together with what it is in memory: all
    added tokens, its steps, its size and every n-th entry. One that was not read from a file is not cached. Files are
    plain arrays, written whole or not at all; one that cannot be read is read anew and replaced.
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
        return None  # a user without a home, as in some containers


def _tokenizer_file(tokenizer: Any) -> Path | None:
    """The ``tokenizer.json`` that a tokenizer was loaded from: in its folder, or in the hub's cache."""
    name = getattr(tokenizer, "name_or_path", "")
    path = Path(name) / "tokenizer.json"
    if not name or path.is_file():
        return path if name else None
    hub = sys.modules.get("huggingface_hub")  # what loaded the tokenizer from the hub has loaded this
    if hub is None:
        return None
    try:
        found = hub.try_to_load_from_cache(name, path.name)
    except ValueError:
        return None  # no repository's name
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
            kind, spells_bytes, keeps_spaces = json.loads(arrays["settings"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        return None  # not there, or damaged
    pieces = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return VocabEntries(kind, pieces, byte_ids, spells_bytes, keeps_spaces)


def _save(path: Path, entries: VocabEntries) -> None:
    arrays: dict[str, Any] = {
        "data": np.frombuffer(b"".join(entries.pieces), dtype=np.uint8),
        "lengths": np.fromiter(map(len, entries.pieces), dtype=np.int32, count=len(entries.pieces)),
        # arrays hold no None
        "byte_ids": np.array([-1 if token_id is None else token_id for token_id in entries.byte_ids], dtype=np.int64),
        "settings": np.frombuffer(
            json.dumps([entries.kind, entries.spells_bytes, entries.keeps_spaces]).encode(), dtype=np.uint8
        ),
    }
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # readable to those whom the user lets read: a cache may be shared
            np.savez(file, **arrays)
        temporary.replace(path)
    except OSError:
        _remove(temporary)  # a folder that cannot be written costs a second at the next start and nothing else


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
