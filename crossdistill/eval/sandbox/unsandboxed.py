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

    They may read and write whatever this user may, and reach the network: for programs of people whom you trust, or on
    a machine that is itself a sandbox.
    """

    name = "unsandboxed"

    def check(self) -> None:
        """There is nothing to check."""

    def start(self, program: Program, limits: Limits) -> Process:
        folder = Path(tempfile.mkdtemp(prefix="crossdistill-"))
        path = sorted({str(library.parent) for library in interpreter.libraries()})
        rlimits = limits.rlimits()
        del rlimits["RLIMIT_NPROC"]  # it counts all of this user's processes
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
