"""The first code inside a sandbox: takes on the limits, gives up being root, and becomes the program.

It is sent as text (``python -c``), so it imports the standard library only. From the moment the program starts, nothing
that is left of this code is relied upon.
"""

import contextlib
import json
import os
import resource
import site
import sys
import types


def take_limits(rlimits: dict[str, int]) -> None:
    """Hold this process and its children to the limits; they cannot be raised again."""
    for name, value in rlimits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))


def become(user: int | None) -> None:
    """Become another user for good."""
    if user is not None:
        for stream in (0, 1, 2):  # programs open /dev/stdin by its name
            with contextlib.suppress(PermissionError):
                os.fchmod(stream, 0o666)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def read_exactly(size: int) -> bytes:
    """Bytes of standard input, and not one more: the rest is for the program."""
    parts = []
    while size:
        part = os.read(0, size)
        if not part:
            sys.exit("standard input ended inside the program")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_program() -> dict[str, object]:
    """The message of crossdistill.eval.sandbox.program.Program."""
    digits = b""
    while not digits.endswith(b"\n"):
        digits += read_exactly(1)
    message = json.loads(read_exactly(int(digits)))
    assert isinstance(message, dict)
    return message


def run_module(name: str, source: str) -> None:
    """Execute a text as the module of that name."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - what a sandbox is for


def main() -> None:
    """Read the settings from the command line, the program from standard input, and run it."""
    settings = json.loads(sys.argv[1])
    take_limits(settings["rlimits"])
    become(settings["user"])
    sys.path += settings["path"]
    sys.argv = ["program.py"]
    site.setquit()  # programs call exit(), which an interpreter without `site` lacks
    message = read_program()
    for name, source in message["modules"].items():  # type: ignore[attr-defined]
        run_module(name, source)
    run_module("__main__", str(message["source"]))


if __name__ == "__main__":
    main()
