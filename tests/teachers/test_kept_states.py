"""States that wait in a file are the same as those in memory, and leave nothing behind."""

import errno
import tempfile
from pathlib import Path

import pytest
import torch

from crossdistill.errors import InputError, OutOfSpaceError
from crossdistill.signal import Signal
from crossdistill.teachers import kept_states
from crossdistill.teachers.kept_states import StatesIn
from tests.teachers.test_local import requests, teacher_of


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_of_a_file_are_those_that_were_given(dtype, folder):
    states = torch.randn(7, 6, generator=torch.Generator().manual_seed(0)).to(dtype)[1:, ::2]
    kept = StatesIn.DISK.keep(states)
    assert kept.dtype == dtype
    assert torch.equal(kept, states)
    assert is_mapped(kept)
    assert not is_mapped(StatesIn.MEMORY.keep(states))
    assert list(folder.iterdir()) == []


def test_few_states_stay_in_memory(monkeypatch):
    monkeypatch.setattr(kept_states, "SMALLEST_FILE", 25)
    assert not is_mapped(StatesIn.DISK.keep(torch.ones(6)))
    assert is_mapped(StatesIn.DISK.keep(torch.ones(7)))


def test_kept_states_do_not_change_with_those_that_were_given():
    for place in StatesIn:
        states = torch.ones(2, 3)
        kept = place.keep(states)
        states.zero_()
        assert kept.eq(1).all()


def test_a_full_disk_is_told_in_a_sentence(monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OutOfSpaceError, match="no space is left on the disk of"):
        StatesIn.DISK.keep(torch.ones(3))


def test_a_teacher_gives_the_same_states_from_both_places():
    found = {place: teacher_of(keeps_states=place).score(requests(), Signal.DENSE) for place in ("disk", "memory")}
    for ours, theirs in zip(found["disk"], found["memory"], strict=True):
        assert torch.equal(ours.states.hidden, theirs.states.hidden)
        assert is_mapped(ours.states.hidden)
        assert not is_mapped(theirs.states.hidden)
    with pytest.raises(InputError, match="teacher_states is one of disk, memory, not 'tape'"):
        teacher_of(keeps_states="tape")
