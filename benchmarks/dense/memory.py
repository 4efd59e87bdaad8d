"""The peak memory of a call beyond that before it."""

import ctypes
import gc
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_OWN = Path("/proc/self")


class OutOfMemoryError(Exception):
    """A call would have taken more than the cap."""


class Peak:
    """A peak of memory.

    Attributes:
        extra_bytes: known once the call has ended or failed.
    """

    extra_bytes = 0


@contextmanager
def peak_of(device: str) -> Iterator[Peak]:
    """Resident memory of this process on a CPU (Linux), allocated memory of the device on a GPU."""
    gc.collect()
    peak = Peak()
    if device == "cpu":
        ctypes.CDLL(None).malloc_trim(0)  # returns free memory, which would count as memory in use
        before = _status("VmRSS")
        (_OWN / "clear_refs").write_text("5")  # VmHWM starts anew from here
    else:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    try:
        yield peak
    except (RuntimeError, MemoryError) as error:  # torch has no class of its own for the CPU
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise OutOfMemoryError(str(error).splitlines()[0]) from error
        raise
    finally:
        most = _status("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
        peak.extra_bytes = most - before


def cap(extra_bytes: int, device: str) -> None:
    """Limit the memory of the process to what it holds now and `extra_bytes` more."""
    if device == "cpu":
        limit = _status("VmData") + extra_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    else:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + extra_bytes) / total))


def available_bytes(device: str) -> int:
    """Free memory."""
    if device != "cpu":
        return torch.cuda.mem_get_info(device)[0]
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", (_OWN / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024
