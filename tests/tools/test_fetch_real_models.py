"""The parts of tools/fetch_real_models.py that need neither network nor torch, on tiny made-up files."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


packages = load_script("packages")  # first, because the other one imports it
fetch = load_script("fetch_real_models")


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


def make_rows(num_rows: int) -> list[dict]:
    return [fetch.conversational_row({"question": f"What is {n} + 1?", "answer": str(n + 1)}) for n in range(num_rows)]


def test_parts_are_joined_by_file_name_whatever_their_folder_and_order(tmp_path: Path) -> None:
    first, second = tmp_path / "z" / "m.gguf.part00", tmp_path / "a" / "m.gguf.part01"
    for part, content in ((first, b"GGUF"), (second, b"tail")):
        part.parent.mkdir()
        part.write_bytes(content)
    assert packages.join_parts([second, first], tmp_path / "joined").read_bytes() == b"GGUFtail"


def test_right_checksum_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(b"weights")
    packages.verify_sha256(path, hashlib.sha256(b"weights").hexdigest())


def test_wrong_checksum_is_refused_with_both_sums_named(tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(b"tampered")
    expected = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(fetch.FetchError, match="It was not used") as caught:
        packages.verify_sha256(path, expected)
    assert expected in str(caught.value)
    assert hashlib.sha256(b"tampered").hexdigest() in str(caught.value)


def test_only_matching_members_are_unzipped(tmp_path: Path) -> None:
    wheel = make_zip(tmp_path / "p.whl", {"p/data/m.gguf.part00": b"part", "p/__init__.py": b"raise SystemExit"})
    (found,) = packages.unzip_matching(wheel, "*.gguf*", tmp_path / "out")
    assert found == tmp_path / "out" / "p" / "data" / "m.gguf.part00"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [found]


@pytest.mark.parametrize("name", ["../m.gguf", "p/../../m.gguf", "/m.gguf", "..\\m.gguf", "C:/m.gguf"])
def test_member_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    wheel = make_zip(tmp_path / "p.whl", {"p/good.gguf": b"good", name: b"evil"})
    with pytest.raises(fetch.FetchError, match=r"unsafe member"):
        packages.unzip_matching(wheel, "*.gguf", tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["p.whl"]


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("p/m.gguf")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(fetch.FetchError, match=r"unsafe member"):
        packages.unzip_matching(tmp_path / "p.whl", "*.gguf", tmp_path / "out")


def test_archive_without_the_wanted_file_is_refused(tmp_path: Path) -> None:
    wheel = make_zip(tmp_path / "p.whl", {"p/readme.txt": b""})
    with pytest.raises(fetch.FetchError, match="has no file like"):
        packages.unzip_matching(wheel, "*.gguf", tmp_path / "out")


def test_split_parts_the_rows_and_keeps_their_order() -> None:
    rows = make_rows(30)
    train, heldout = fetch.split_rows(rows, 7)
    assert (len(train), len(heldout)) == (23, 7)
    assert [row for row in rows if row in train] == train
    assert [row for row in rows if row in heldout] == heldout
    assert not [row for row in train if row in heldout]


def test_split_depends_on_the_questions_only() -> None:
    rows = make_rows(30)
    shuffled = random.Random(0).sample(rows, len(rows))
    questions = [{row["prompt"][0]["content"] for row in fetch.split_rows(r, 3)[1]} for r in (rows, shuffled)]
    assert questions[0] == questions[1]
    # Fixed, so that a change of the rule, which would move the held-out set, is noticed.
    assert questions[0] == {"What is 7 + 1?", "What is 23 + 1?", "What is 28 + 1?"}


def test_rows_are_conversational() -> None:
    row = fetch.conversational_row({"task_id": "GSM8K/0", "question": "2 + 2?", "answer": "4"})
    assert row == {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}


def test_merges_follow_the_score_then_the_lengths_of_the_halves() -> None:
    merges = [["a", "b"], [" ", " "], [" ", "  "], ["  ", " "]]
    scores = {"ab": -1.0, "  ": 0.0, "   ": 0.0}
    assert fetch.order_merges(merges, scores) == [["  ", " "], [" ", "  "], [" ", " "], ["a", "b"]]


def test_digits_are_split_without_touching_the_rest() -> None:
    before = {"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE"}}
    after = fetch.split_digits(before, Path("unread.gguf"))
    assert after["pre_tokenizer"]["pretokenizers"][0] == {"type": "Digits", "individual_digits": True}
    assert (before["pre_tokenizer"], after["model"]) == ({"type": "ByteLevel"}, {"type": "BPE"})


def test_existing_targets_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise AssertionError("fetched again")

    fetch.fetch_if_missing([tmp_path], "some licence", refuse)
    assert "Already there" in capsys.readouterr().out


def test_licence_is_printed_before_the_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    fetch.fetch_if_missing([tmp_path / "new"], "Some Licence", lambda: said.append(capsys.readouterr().out))
    assert said == ["Fetching Some Licence\n"]


def test_gemma_needs_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.sys.stdin, "isatty", lambda: False, raising=False)
    assert not fetch.consents_to_gemma(accepted=False)
    assert fetch.consents_to_gemma(accepted=True)
