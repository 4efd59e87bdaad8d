"""Where a local teacher's hidden states wait for the loss.

A loss over whole distributions reads the states of a response when its micro-batch comes, which is after the whole
batch of rollouts has been scored: at 16,384 tokens and 5,120 features in bfloat16 they are 168 MB a response. In memory
that grows with the batch; what lies in a mapped file the system drops if memory is needed, and reads again.
"""

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import IO

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.space import telling_out_of_space

SMALLEST_FILE = 2**24
"""Bytes of a batch's states below which a file is not worth it."""


class StatesIn(StrEnum):
    """Where the states of a batch of responses are kept.

    Attributes:
        DISK: in a file without a name, in the folder of temporary files (``TMPDIR``), gone with the last use of them;
            in memory if they are few, 16 MiB in all.
        MEMORY: in this process.
    """

    DISK = "disk"
    MEMORY = "memory"

    @classmethod
    def of(cls, name: str) -> "StatesIn":
        """By its name.

        Raises:
            InputError: there is no such place.
        """
        if name not in list(cls):
            raise InputError(f"teacher_states is one of {', '.join(cls)}, not {name!r}.")
        return cls(name)


class KeptStates:
    """States of one batch of responses, on the CPU; to be opened as a context.

    In a file they are all in one, mapped once: a mapping takes one of the process's file descriptors, of which there
    are often 1,024, until the last of its states is gone.

    Args:
        place: where they are kept.

    Example:
        >>> with KeptStates(StatesIn.DISK) as kept:
        ...     kept.add(torch.ones(1, 2))
        ...     kept.add(torch.zeros(2, 2))
        ...     [states.tolist() for states in kept.all()]
        [[[1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """

    def __init__(self, place: StatesIn):
        self._place = place
        self._in_memory: list[Tensor] = []
        self._file: IO[bytes] | None = None
        self._num_rows: list[int] = []  # of each response
        self._num_bytes = 0

    def __enter__(self) -> "KeptStates":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with _telling_what_is_missing():
                self._file.close()

    def add(self, states: Tensor) -> None:
        """Keep those of one more response; all have the same dtype and number of features.

        Args:
            states: [rows, features], copied.

        Raises:
            OutOfSpaceError: the disk is full.
            InputError: a file cannot be had for another reason.
        """
        self._dtype = states.dtype
        self._num_rows.append(len(states))
        self._num_bytes += states.nbytes
        if self._place is StatesIn.MEMORY or self._num_bytes < SMALLEST_FILE:
            self._in_memory.append(states.to("cpu", copy=True))
            return
        with _telling_what_is_missing():
            self._write([*self._in_memory, states])
        self._in_memory = []

    def all(self) -> list[Tensor]:
        """Those of all responses, in order. To be called once.

        Raises:
            OutOfSpaceError, InputError: as in :meth:`add`.
        """
        if self._file is None:
            return self._in_memory
        with _telling_what_is_missing():
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0)  # shared: what is private counts as memory of the process
        together = torch.frombuffer(mapped, dtype=self._dtype).view(sum(self._num_rows), -1)
        return list(together.split(self._num_rows))

    def _write(self, parts: Sequence[Tensor]) -> None:
        """They are written and then mapped: a mapping that finds no room would end the process without a word."""
        self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - closed with the context
        for part in parts:
            self._file.write(part.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


@contextmanager
def _telling_what_is_missing() -> Iterator[None]:
    """Turn every error of the file into a sentence."""
    try:
        with telling_out_of_space(tempfile.gettempdir()):
            yield
    except OSError as error:
        raise InputError(
            f"a local teacher's states cannot wait in a file ({error}): let TMPDIR name another folder, allow more "
            'open files (ulimit -n), or keep them in memory (teacher_states = "memory").'
        ) from error
