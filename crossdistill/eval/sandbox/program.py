"""A Python program, as it is sent into a sandbox."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program and the modules that it may import beside the standard library.

    It travels on standard input, before whatever else the program reads there, so that no file of this machine has to
    be shown to it.

    Attributes:
        source: the program's text.
        modules: full name -> text of further modules.

    Example:
        >>> Program("print(1)").message()
        b'37\\n{"source": "print(1)", "modules": {}}'
    """

    source: str
    modules: Mapping[str, str] = field(default_factory=dict)

    def message(self) -> bytes:
        """The program as the bootstrap reads it: the number of bytes, then JSON."""
        text = json.dumps({"source": self.source, "modules": dict(self.modules)}).encode()
        return b"%d\n" % len(text) + text


BOOTSTRAP = (Path(__file__).parent / "bootstrap.py").read_text(encoding="utf-8")
"""The first code inside a sandbox."""
