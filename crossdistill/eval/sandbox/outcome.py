"""How a program in a sandbox ended."""

from dataclasses import dataclass

INTERRUPTED = "interrupted"
"""In place of a limit: its caller no longer wanted it."""


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        exit_code: as the program gave it; negative or above 128 if a signal ended it.
        output: its standard output, as far as it was not read before.
        errors: its standard error.
        limit: the name of the limit for which it was ended, as in :class:`crossdistill.eval.sandbox.Limits`, or
            :data:`INTERRUPTED`; None if it ended by itself. A full disk and too many open files are errors that the
            program itself sees.

    Example:
        >>> Outcome(0, b"4", b"", None).succeeded
        True
    """

    exit_code: int
    output: bytes
    errors: bytes
    limit: str | None

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.exit_code == 0 and self.limit is None
