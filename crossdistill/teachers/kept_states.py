"""Where a local teacher's hidden states wait for the loss.

A loss over whole distributions reads the states of a response when its micro-batch comes, which is after the whole
batch of rollouts has been scored: at 16,384 tokens and 5,120 features in bfloat16 they are 168 MB a response. In memory
that grows with the batch; what lies in a mapped file the system drops if memory is needed, and reads again.
"""

import mmap
import tempfile
from enum import StrEnum

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.space import telling_out_of_space

SMALLEST_FILE = 2**24
"""Bytes of states below which a file is not worth it."""


class StatesIn(StrEnum):
    """Where the states of a response are kept.

    Attributes:
        DISK: in a file without a name, in the folder of temporary files (``TMPDIR``), gone with the last use of them;
            in memory if they are few.
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

    def keep(self, states: Tensor) -> Tensor:
        """A copy on the CPU that does not depend on the storage of `states`.

        Raises:
            OutOfSpaceError: the disk is full.

        Example:
            >>> StatesIn.DISK.keep(torch.ones(2, 3)).tolist()
            [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
        """
        if self is StatesIn.MEMORY or states.nbytes < SMALLEST_FILE:
            return states.to("cpu", copy=True)
        return _in_file(states)


def _in_file(states: Tensor) -> Tensor:
    """The file is written and then mapped: a mapping that finds no room would end the process without a word."""
    data = states.cpu().contiguous()
    with telling_out_of_space(tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        file.write(data.view(-1).view(torch.uint8).numpy().data)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants to be able to write
    return torch.frombuffer(mapped, dtype=data.dtype).view(data.shape)
