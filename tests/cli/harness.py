"""The command line in this process, as its entry point runs it."""

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

from crossdistill.cli import main


@dataclass(frozen=True)
class Result:
    """The end of a command.

    Attributes:
        code: exit status.
        out: what it printed to stdout.
        err: what it printed to stderr.
    """

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The error message after bad input."""
        assert self.code == 2, (self.code, self.err)
        prefix, _, message = self.err.strip().rpartition("error: ")
        assert prefix == "", self.err  # nothing else is printed
        assert "\n" not in message
        assert "Traceback" not in self.err
        return message


def run(*arguments: str, stdin: bytes = b"", columns: int = 200, encoding: str = "utf-8") -> Result:
    """``crossdistill ARGUMENTS`` on a terminal or pipe of that encoding; its output is decoded as UTF-8."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["crossdistill", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setenv("COLUMNS", str(columns))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    printed = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))
    return Result(int(end.value.code or 0), *printed)
