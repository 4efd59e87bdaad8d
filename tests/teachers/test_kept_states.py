"""States that wait in a file are the same as those in memory, and leave nothing behind."""

import errno
import io
import mmap
import tempfile
from pathlib import Path

import pytest
import torch

from crossdistill.errors import InputError, OutOfSpaceError
from crossdistill.signal import Signal
from crossdistill.teachers import kept_states
from crossdistill.teachers.kept_states import KeptStates, StatesIn
from tests.teachers.test_local import assert_scored, requests, teacher_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """However few, states go to a file, and to a folder of this test."""
    monkeypatch.setattr(kept_states, "SMALLEST_FILE", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def is_mapped(values):
    """Whether the values are those of a mapped file without a name."""
    spans = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "(deleted)" in line]
    bounds = [[int(end, 16) for end in span[0].split("-")] for span in spans]
    return any(low <= values.data_ptr() < high for low, high in bounds)


def keep(place, *states):
    with KeptStates(place) as kept:
        for one in states:
            kept.add(one)
        return kept.all()


def num_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("place", StatesIn)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_states_are_those_that_were_given(place, dtype, folder):
    states = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    given = [states[1:8, ::2], states[:0, :3], states[8:9, 3:], states[9:, ::2], states[:3].T[:3, :3]]
    kept = keep(place, *given)
    for ours, theirs in zip(kept, given, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs)
        assert is_mapped(ours) == (place is StatesIn.DISK and len(ours) > 0)
    assert list(folder.iterdir()) == []


def test_a_batch_takes_one_descriptor_until_its_last_states_are_gone():
    before = num_descriptors()
    kept = keep(StatesIn.DISK, *torch.ones(50, 2, 3))
    assert num_descriptors() == before + 1
    last = kept.pop()
    del kept
    assert num_descriptors() == before + 1
    del last
    assert num_descriptors() == before


def test_what_a_batch_has_in_all_decides(monkeypatch):
    monkeypatch.setattr(kept_states, "SMALLEST_FILE", 24 * 3)
    states = [torch.full((2, 3), float(k)) for k in range(4)]
    assert not any(map(is_mapped, keep(StatesIn.DISK, *states[:2])))
    kept = keep(StatesIn.DISK, *states)
    assert all(map(is_mapped, kept))
    assert [one[1, 2].item() for one in kept] == [0, 1, 2, 3]
    assert not any(map(is_mapped, keep(StatesIn.MEMORY, *states)))


@pytest.mark.parametrize("place", StatesIn)
def test_kept_states_do_not_change_with_those_that_were_given(place):
    states = torch.ones(2, 3)
    (kept,) = keep(place, states)
    states.zero_()
    assert kept.eq(1).all()


@pytest.mark.parametrize("place", StatesIn)
def test_nothing_is_kept(place):
    assert keep(place) == []


class Full(io.BytesIO):
    """A file on a full disk."""

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OutOfSpaceError, match="no space is left on the disk of"):
        keep(StatesIn.DISK, torch.ones(3, 2))


@pytest.mark.parametrize(("owner", "name"), [(tempfile, "TemporaryFile"), (tempfile, "gettempdir"), (mmap, "mmap")])
def test_whatever_else_a_file_lacks_is_told_in_a_sentence(monkeypatch, owner, name):
    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(InputError, match=r"cannot wait in a file \(.*Too many open files\): .*ulimit -n"):
        keep(StatesIn.DISK, torch.ones(3, 2))
    assert keep(StatesIn.MEMORY, torch.ones(3, 2))


def test_a_teacher_gives_the_same_states_from_both_places():
    found = {place: teacher_of(keeps_states=place).score(requests(), Signal.DENSE) for place in ("disk", "memory")}
    for ours, theirs in zip(found["disk"], found["memory"], strict=True):
        assert torch.equal(ours.states.hidden, theirs.states.hidden)
        assert is_mapped(ours.states.hidden)
        assert not is_mapped(theirs.states.hidden)
    assert_scored(teacher_of(), requests(), found["disk"])
    with pytest.raises(InputError, match="teacher_states is one of disk, memory, not 'tape'"):
        teacher_of(keeps_states="tape")
