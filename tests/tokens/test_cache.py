"""The cache of large vocabularies on disk."""

import json
import os

import pytest
from tokenizers import AddedToken, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.tokens import cache
from crossdistill.tokens.backends import huggingface
from tests.tokenizers_in_process import CHARACTER_BUILDERS, NAMES, build

ARRAY = b"\x93NUMPY\x01\x00\x3e\x00{'descr': '<i8', 'fortran_order': False, 'shape': (), }    \n" + bytes(8)
TEXT = "naïve 你好 <|im_end|> ▁ e\u0301 42"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_MIN_ENTRIES", 0)
    monkeypatch.setenv("CROSSDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def num_read(monkeypatch):
    """Number of times that entries were read, not loaded from the cache."""
    calls = []

    def reading(backend, control):
        calls.append(backend)
        return huggingface.read_entries(backend, control)

    monkeypatch.setattr(cache, "read_entries", reading)
    return lambda: len(calls)


def saved(tmp_path, name: str) -> PreTrainedTokenizerFast:
    """A tokenizer loaded from a folder."""
    tokenizer = build(name)
    tokenizer.save_pretrained(tmp_path / name)
    return PreTrainedTokenizerFast.from_pretrained(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_cached_entries_equal_those_that_were_read(tmp_path, vocabs, num_read, name):
    tokenizer = saved(tmp_path, name)
    for _ in range(3):
        vocab = ByteVocab.from_tokenizer(tokenizer)
        assert vocab.kind == vocabs[name].kind
        assert vocab.pieces == vocabs[name].pieces
        assert vocab.unencodable == vocabs[name].unencodable
        assert vocab.encode(TEXT).ids.tolist() == vocabs[name].encode(TEXT).ids.tolist()
    assert num_read() == 1


@pytest.mark.parametrize("name", sorted(CHARACTER_BUILDERS))
def test_families_with_character_entries_are_cached_too(tmp_path, num_read, name):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=CHARACTER_BUILDERS[name]())
    fresh = ByteVocab.from_tokenizer(tokenizer)
    tokenizer.save_pretrained(tmp_path / name)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path / name)
    for _ in range(2):
        vocab = ByteVocab.from_tokenizer(loaded)
        assert (vocab.kind, vocab.encodes_any_bytes, vocab.pieces) == (fresh.kind, False, fresh.pieces)
        assert [part.tolist() for part in vocab.encode(TEXT)] == [part.tolist() for part in fresh.encode(TEXT)]
    assert num_read() == 2  # the first one did not come from a file


def test_a_tokenizer_changed_after_loading_is_read_again(tmp_path, num_read):
    tokenizer = saved(tmp_path, "qwen")
    before = ByteVocab.from_tokenizer(tokenizer)
    tokenizer.add_tokens([AddedToken("<new>", normalized=False)])
    assert ByteVocab.from_tokenizer(tokenizer).pieces == (*before.pieces, b"<new>")
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    assert ByteVocab.from_tokenizer(tokenizer).encode("ﬁ").ids.tolist() == before.encode("fi").ids.tolist()
    assert num_read() == 3


def test_a_file_with_other_entries_is_read_again(tmp_path, num_read):
    path = tmp_path / "qwen" / "tokenizer.json"
    before = ByteVocab.from_tokenizer(saved(tmp_path, "qwen"))
    spec = json.loads(path.read_text())
    first, second = [piece for piece, _ in sorted(spec["model"]["vocab"].items(), key=lambda item: item[1])][:2]
    vocabulary = spec["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(spec))
    after = ByteVocab.from_tokenizer(PreTrainedTokenizerFast.from_pretrained(tmp_path / "qwen"))
    assert after.pieces[:2] == before.pieces[1::-1]
    assert num_read() == 2


def test_a_damaged_file_is_read_again_and_replaced(tmp_path, folder, num_read):
    tokenizer = saved(tmp_path, "llama3")
    expected = ByteVocab.from_tokenizer(tokenizer).pieces
    (path,) = folder.iterdir()
    for damaged in (b"", b"PK\x03\x04", path.read_bytes()[:-100], b"no archive", ARRAY):
        path.write_bytes(damaged)
        assert ByteVocab.from_tokenizer(tokenizer).pieces == expected
    assert num_read() == 6
    assert ByteVocab.from_tokenizer(tokenizer).pieces == expected
    assert num_read() == 6
    assert list(folder.iterdir()) == [path]


def test_a_file_that_cannot_be_renamed_leaves_nothing(tmp_path, folder, monkeypatch, num_read):
    def failing(self, target):
        raise PermissionError(13, "in use")

    monkeypatch.setattr("pathlib.Path.replace", failing)
    ByteVocab.from_tokenizer(saved(tmp_path, "qwen"))
    assert list(folder.iterdir()) == []


def test_files_have_the_users_default_permissions(tmp_path, folder):
    mask = os.umask(0o022)
    try:
        ByteVocab.from_tokenizer(saved(tmp_path, "qwen"))
    finally:
        os.umask(mask)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_tokenizer_without_a_file_is_not_cached(folder, tokenizers):
    ByteVocab.from_tokenizer(tokenizers["qwen"])
    ByteVocab.from_tokenizer(Tokenizer.from_str(tokenizers["qwen"].backend_tokenizer.to_str()))
    assert not folder.exists()


def test_the_cache_can_be_turned_off(tmp_path, folder, monkeypatch, num_read):
    monkeypatch.setenv("CROSSDISTILL_CACHE", "off")
    tokenizer = saved(tmp_path, "qwen")
    for _ in range(2):
        ByteVocab.from_tokenizer(tokenizer)
    assert num_read() == 2
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_ignored(tmp_path, monkeypatch, num_read):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("CROSSDISTILL_CACHE", str(blocked / "cache"))
    tokenizer = saved(tmp_path, "qwen")
    for _ in range(2):
        ByteVocab.from_tokenizer(tokenizer)
    assert num_read() == 2


def test_a_tokenizer_of_the_hub_is_identified_by_its_file_in_the_hubs_cache(tmp_path, monkeypatch, num_read):
    commit = "0" * 40
    repository = tmp_path / "hub" / "models--someone--small"
    tokenizer = saved(tmp_path, "qwen")
    tokenizer.save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    tokenizer.name_or_path = "someone/small"
    for _ in range(2):
        ByteVocab.from_tokenizer(tokenizer)
    assert num_read() == 1
    for name in ("someone/else", "neither a folder nor a repository"):
        tokenizer.name_or_path = name
        ByteVocab.from_tokenizer(tokenizer)
    assert num_read() == 3


def test_a_user_without_a_home_has_no_cache(tmp_path, monkeypatch, num_read):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CROSSDISTILL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    tokenizer = saved(tmp_path, "qwen")
    for _ in range(2):
        ByteVocab.from_tokenizer(tokenizer)
    assert num_read() == 2


def test_text_tokens_have_entries_of_their_own(tmp_path, num_read):
    tokenizer = saved(tmp_path, "qwen")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for _ in range(2):
        assert ByteVocab.from_tokenizer(tokenizer).pieces[end] == b""
        assert ByteVocab.from_tokenizer(tokenizer, text_tokens=["<|im_end|>"]).pieces[end] == b"<|im_end|>"
    assert num_read() == 2


def test_by_default_the_cache_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CROSSDISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    ByteVocab.from_tokenizer(saved(tmp_path, "qwen"))
    (file,) = (tmp_path / "xdg" / "crossdistill").iterdir()
    assert file.stat().st_size > 0
