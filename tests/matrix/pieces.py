"""The bytes of every id of a real tokenizer, read from its file without crossdistill."""

import ast
import base64
import re
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTE_OF = {char: byte for byte, char in bytes_to_unicode().items()}
_FALLBACK = re.compile("<0x([0-9A-F]{2})>")


def of_tokenizer_json(spec: dict[str, Any]) -> list[bytes]:
    """From the content of `tokenizer.json`. Control and unknown tokens and unused ids carry no bytes."""
    model = spec["model"]
    entries, unknown = _entries(model)
    read = _reader(spec)
    added = {token["id"]: token for token in spec["added_tokens"]}
    found = [b""] * (max([*entries.values(), *added]) + 1)
    for entry, index in entries.items():
        if entry != unknown:
            found[index] = read(entry)
    is_sentencepiece = read is _sentencepiece_entry
    for index, token in added.items():
        text = read(token["content"]) if is_sentencepiece else token["content"].encode("utf-8")
        found[index] = b"" if token["special"] or _has_control_name(token["content"]) else text
    return found


def of_tekken(content: dict[str, Any]) -> list[bytes]:
    config = content["config"]
    num_special = config["default_num_special_tokens"]
    entries = sorted(content["vocab"], key=lambda entry: entry["rank"])
    kept = entries[: config["default_vocab_size"] - num_special]
    return [b""] * num_special + [base64.b64decode(entry["token_bytes"]) for entry in kept]


def of_processor(processor: Any) -> list[bytes]:
    """From a SentencePiece model."""
    silent = (processor.is_control, processor.is_unknown, processor.is_unused)
    return [
        b"" if any(test(index) for test in silent) else _sentencepiece_entry(processor.id_to_piece(index))
        for index in range(len(processor))
    ]


def of_world(lines: str) -> list[bytes]:
    """From RWKV's list of `id literal length`."""
    rows = [(int(line.split(" ", 1)[0]), line[line.index(" ") : line.rindex(" ")]) for line in lines.splitlines()]
    found = [b""] * (max(index for index, _ in rows) + 1)
    for index, literal in rows:
        value = ast.literal_eval(literal.strip())
        found[index] = value.encode("utf-8") if isinstance(value, str) else value
    return found


def _has_control_name(text: str) -> bool:
    """Whether a name is that of a control token: not every file flags roles and ends of turns."""
    in_bars = text.startswith(("<|", "<｜")) and text.endswith(("|>", "｜>"))
    return in_bars or text in {"<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>"}


def _entries(model: dict[str, Any]) -> tuple[dict[str, int], str | None]:
    if model["type"] == "Unigram":
        names = [entry for entry, _ in model["vocab"]]
        return {entry: index for index, entry in enumerate(names)}, names[model["unk_id"]]
    return model["vocab"], model["unk_token"]


def _reader(spec: dict[str, Any]) -> Any:
    if spec["model"]["type"] == "WordPiece":
        return _word_piece_entry
    return _byte_level_entry if "ByteLevel" in str(spec["decoder"]) else _sentencepiece_entry


def _byte_level_entry(entry: str) -> bytes:
    """As the library's decoder does it: an entry with a character outside its table has the bytes of its own text."""
    if all(char in _BYTE_OF for char in entry):
        return bytes(_BYTE_OF[char] for char in entry)
    return entry.encode("utf-8")


def _sentencepiece_entry(entry: str) -> bytes:
    byte = _FALLBACK.fullmatch(entry)
    return bytes([int(byte[1], 16)]) if byte else entry.replace("▁", " ").encode("utf-8")


def _word_piece_entry(entry: str) -> bytes:
    """Without white space, which this family does not keep."""
    return entry.removeprefix("##").encode("utf-8") if entry != "##" else b"##"
