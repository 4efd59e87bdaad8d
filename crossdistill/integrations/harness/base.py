"""The contract of a harness."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class HarnessRequest:
    """What a harness is asked for.

    Attributes:
        model: a folder of a model or an adapter, or a hub id.
        tasks: by the harness's own names.
        folder: that the harness writes to.
        limit: number of problems of each task; None takes all. A harness takes the first ones.
        seed: of whatever the harness draws.
        device: such as "cpu"; None takes the harness's own choice.
        dtype: "auto" (as in the files), "float32" or "bfloat16".
        trust_remote_code: whether the model's own code may run.
        arguments: further ones, as on the harness's own command line.
        python: of the environment that has the harness.
    """

    model: str
    tasks: tuple[str, ...]
    folder: Path
    limit: int | None = None
    seed: int = 0
    device: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    arguments: tuple[str, ...] = ()
    python: str = sys.executable


class Harness(ABC):
    """A harness that has a command line. A new one is one file that defines a subclass, and a line in the registry.

    Attributes:
        name: as in ``--harness``, and of the extra that installs it.
        distribution: its package's name in the index.
    """

    name: str
    distribution: str

    @abstractmethod
    def command(self, request: HarnessRequest) -> list[str]:
        """The command that evaluates a model.

        Raises:
            InputError: the harness cannot do this.
        """

    @abstractmethod
    def results(self, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
        """The results that its run has written to a folder: task -> metric -> ``mean``, ``stderr`` and ``n``.

        What the harness does not tell is None.

        Raises:
            InputError: there are none, or they are of another form.
        """
