"""No sandbox: limits alone."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from crossdistill.eval.sandbox import interpreter
from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import BOOTSTRAP, Program


class Unsandboxed(Sandbox):
    """Runs programs as this user, in a folder of their own and within limits.

    They may read and write whatever this user may, and reach the network; if this user is root, one that forks for ever
    stops the machine. This is for programs of people whom you trust, or for a machine that is itself a sandbox.
    """

    name = "unsandboxed"

    def check(self) -> None:
        """There is nothing to check."""

    def start(self, program: Program, limits: Limits) -> Process:
        folder = Path(tempfile.mkdtemp(prefix="crossdistill-"))
        path = sorted({str(library.parent) for library in interpreter.libraries()})
        rlimits = {**limits.rlimits(), "RLIMIT_NPROC": limits.processes + _threads_of_this_user()}
        settings = {"rlimits": rlimits, "user": None, "path": path}
        process = Process(
            [str(interpreter.executable()), "-I", "-S", "-c", BOOTSTRAP, json.dumps(settings)],
            limits,
            environment={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)},
            folder=folder,
            end=lambda: shutil.rmtree(folder, ignore_errors=True),
        )
        process.send(program.message())
        return process


def _threads_of_this_user() -> int:
    """What the kernel counts against the limit on processes before a program starts."""
    import psutil

    own = (one.info for one in psutil.process_iter(["uids", "num_threads"]))
    return sum(one["num_threads"] or 0 for one in own if one["uids"] is not None and one["uids"].real == os.getuid())
