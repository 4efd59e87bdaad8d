"""What is being done while a command prints nothing yet."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from crossdistill.runs.terminal import Terminal


@contextmanager
def waiting(phase: str, is_quiet: bool = False) -> Iterator[None]:
    """Show on a terminal what is being done, on standard error; a program or a file that reads it gets nothing.

    Print nothing inside: what is shown would be between the lines.

    Args:
        phase: what is done first.
        is_quiet: whether nothing is shown on a terminal either.
    """
    with Terminal(sys.stderr, is_quiet=is_quiet or not sys.stderr.isatty()) as terminal:
        terminal.begin(phase)
        yield
