"""Which errors mean that a disk is full, and that no other is hidden."""

import errno
import shutil
from types import SimpleNamespace

import pytest

from crossdistill.errors import OutOfSpaceError
from crossdistill.space import telling_out_of_space

TORCH = "[enforce fail at inline_container.cc:672] . unexpected pos 3345920 vs 3345812"
RUST = "Error while serializing: I/O error: No space left on device (os error 28)"


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def caused(error: Exception) -> Exception:
    outer = RuntimeError("the data set could not be generated")
    outer.__cause__ = error
    return outer


SPACE = {"f_bavail": 2**20, "f_frsize": 4096, "f_blocks": 2**21, "f_bfree": 2**20}

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    caused(OSError(errno.ENOSPC, "No space left on device")),
    Exception(RUST),
    Exception(RUST.replace("28", "122")),
]


@pytest.mark.parametrize("error", FULL)
def test_a_full_disk_in_one_sentence(tmp_path, error):
    expected = rf"no space is left on the disk of {tmp_path}/run/model \([\d,.]+ MiB free\): make room there\."
    with pytest.raises(OutOfSpaceError, match=expected), telling_out_of_space(tmp_path / "run" / "model"):
        raise error


def test_a_quota(tmp_path):
    with pytest.raises(OutOfSpaceError, match="your quota is used up on the disk of"), telling_out_of_space(tmp_path):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize(("total", "left", "is_told"), [(100, 0, True), (100, 3, False), (0, 0, False)])
def test_inodes(tmp_path, monkeypatch, total, left, is_told):
    """Some file systems have no fixed number of them, and say 0."""
    monkeypatch.setattr("os.statvfs", lambda path: SimpleNamespace(f_files=total, f_favail=left, **SPACE))
    expected = "whose inodes are used up: delete files there" if is_told else "no space is left on the disk of"
    with pytest.raises(OutOfSpaceError, match=expected), telling_out_of_space(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_file_that_the_error_names(tmp_path):
    with pytest.raises(OutOfSpaceError, match=f"{tmp_path}/cache/x.bin"), telling_out_of_space("elsewhere"):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "cache" / "x.bin"))


def test_torch_does_not_tell_its_reason(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="inline_container") as caught, telling_out_of_space(tmp_path):
        raise RuntimeError(TORCH)  # a broken disk, say, on which there is room
    assert not isinstance(caught.value, OutOfSpaceError)
    full(monkeypatch)
    with pytest.raises(OutOfSpaceError, match=r"\(0.0 MiB free\)"), telling_out_of_space(tmp_path):
        raise RuntimeError(TORCH)


def handled() -> Exception:
    """An error in what was done about a full disk."""
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        try:
            raise ValueError("a mistake in the fallback")
        except ValueError as error:
            return error


OTHERS = [OSError(errno.EIO, "Input/output error"), RuntimeError("CUDA out of memory"), KeyError("prompt"), handled()]


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_pass(tmp_path, monkeypatch, error):
    full(monkeypatch)
    with pytest.raises(type(error)) as caught, telling_out_of_space(tmp_path):
        raise error
    assert caught.value is error


def test_it_is_told_once(tmp_path):
    with pytest.raises(OutOfSpaceError, match="told"), telling_out_of_space(tmp_path):
        raise OutOfSpaceError("told")
