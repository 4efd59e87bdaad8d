"""Which sandbox a user asks for."""

from crossdistill.errors import InputError
from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.bubblewrap import Bubblewrap
from crossdistill.eval.sandbox.docker import Docker
from crossdistill.eval.sandbox.unsandboxed import Unsandboxed

SANDBOXES: dict[str, type[Sandbox]] = {"bubblewrap": Bubblewrap, "docker": Docker}


def choose(name: str | None = None, unsandboxed: bool = False) -> Sandbox:
    """The sandbox of that name; bubblewrap, if none is named.

    Args:
        name: "bubblewrap", "docker" or None.
        unsandboxed: run programs without a sandbox.

    Raises:
        InputError: there is no such sandbox, or one is named that is not to be used.

    Example:
        >>> choose().name, choose(unsandboxed=True).name
        ('bubblewrap', 'unsandboxed')
    """
    if unsandboxed:
        if name is not None:
            raise InputError(f"the sandbox {name!r} and no sandbox are both asked for: leave one of them out.")
        return Unsandboxed()
    if name is not None and name not in SANDBOXES:
        raise InputError(f"there is no sandbox {name!r}: choose one of {', '.join(SANDBOXES)}.")
    return SANDBOXES[name or "bubblewrap"]()
