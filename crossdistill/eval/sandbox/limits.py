"""What a program in a sandbox may use."""

import math
from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one run; those on time, memory, processes and output hold for all its processes together.

    Attributes:
        seconds: wall time.
        cpu_seconds: time on the processors.
        memory: bytes that are resident; each process may address twice as many.
        processes: processes and threads.
        output: bytes of standard output and standard error.
        disk: bytes that the folder of the program holds.
        open_files: file descriptors of each process.

    Example:
        >>> Limits(seconds=4).rlimits()["RLIMIT_NOFILE"]
        64
    """

    seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory: int = 1024 * _MIB
    processes: int = 32
    output: int = 4 * _MIB
    disk: int = 64 * _MIB
    open_files: int = 64

    def rlimits(self) -> dict[str, int]:
        """What the kernel holds each process to; the rest is watched from outside."""
        return {
            "RLIMIT_AS": 2 * self.memory,
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": math.ceil(self.cpu_seconds) + 1,  # the watch comes first, and knows the reason
            "RLIMIT_FSIZE": self.disk,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_NPROC": self.processes,
        }
