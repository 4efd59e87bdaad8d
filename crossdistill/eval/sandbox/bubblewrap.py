"""A sandbox of Linux namespaces, by bubblewrap."""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crossdistill.errors import InputError
from crossdistill.eval.sandbox import interpreter
from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import BOOTSTRAP, Program
from crossdistill.eval.sandbox.system_calls import seccomp_filter

WAY_OUT = "or grade without a sandbox (--unsandboxed), which lets generated programs do whatever you may do"
_PROCESSES = 8
_FEW_PROCESSES = f"""
import os, time
started = 0
try:
    for _ in range({2 * _PROCESSES}):
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
        started += 1
except OSError:
    pass
print(started)
"""
"""Starts a few processes more than it may, and says how many it could."""
_SHARED_MEMORY = 1 << 20
_USERS = range(61184, 65520)
"""As root each run becomes a user of its own, so that limits on processes are its own: systemd's dynamic users."""


class Bubblewrap(Sandbox):
    """No network, no other processes, one folder in memory to write, and the interpreter's files to read.

    The program sees neither the home folder nor the environment nor any other file of the machine.
    """

    name = "bubblewrap"

    def __init__(self) -> None:
        self._users = itertools.cycle(_USERS)
        for _ in range(os.getpid() % len(_USERS)):
            next(self._users)

    def check(self) -> None:
        if shutil.which("bwrap") is None:
            raise InputError(
                "bubblewrap, the sandbox for generated programs, is not installed: install it (apt install bubblewrap, "
                f"dnf install bubblewrap), {WAY_OUT}."
            )
        help_text = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)  # noqa: S607
        if "--size" not in help_text.stdout + help_text.stderr:
            raise InputError(f"bubblewrap here is older than 0.7 and cannot limit a folder: update it, {WAY_OUT}.")
        outcome = self.run(Program(_FEW_PROCESSES), Limits(processes=_PROCESSES))
        if not outcome.output:
            lines = outcome.errors.decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"exit code {outcome.exit_code}"
            raise InputError(
                f"bubblewrap is installed but cannot run here ({said}): allow unprivileged user namespaces "
                "(sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1, and on Ubuntu "
                f"kernel.apparmor_restrict_unprivileged_userns=0; a container needs them from its host), {WAY_OUT}."
            )
        if int(outcome.output) >= _PROCESSES:
            raise InputError(
                "bubblewrap runs here, but the kernel does not hold its programs to a number of processes, so one that "
                f"forks for ever would stop the machine: run as another user than root of a container, {WAY_OUT}."
            )

    def start(self, program: Program, limits: Limits) -> Process:
        user = next(self._users) if os.geteuid() == 0 else None
        filter_file = _unnamed_file(seccomp_filter())
        try:
            process = Process(
                command(limits, user, filter_file),
                limits,
                # what bubblewrap was started with can be read inside, in the memory of its first process
                environment={"PATH": os.environ.get("PATH", os.defpath)},
                folder=Path("/"),
                pass_fds=[] if filter_file is None else [filter_file],
            )
        finally:
            if filter_file is not None:
                os.close(filter_file)
        process.send(program.message())
        return process


def command(limits: Limits, user: int | None, filter_file: int | None) -> list[str]:
    """The command line of one run.

    Args:
        limits: of the run.
        user: id that the program takes, if we are root; None for ourselves.
        filter_file: descriptor of the filter of system calls.
    """
    settings = {"rlimits": limits.rlimits(), "user": user, "path": ["/libraries"]}
    python = [str(interpreter.executable()), "-I", "-S", "-c", BOOTSTRAP, json.dumps(settings)]
    return ["bwrap", *_apart(user), *_filter(filter_file), *_files(limits), "--chdir", "/tmp", "--", *python]  # noqa: S108


def _apart(user: int | None) -> Iterator[str]:
    """Namespaces, privileges and environment."""
    yield from ["--die-with-parent", "--new-session", "--clearenv"]
    yield from ["--setenv", "LANG", "C.UTF-8", "--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp"]  # noqa: S108
    yield from ["--setenv", "OPENBLAS_NUM_THREADS", "1", "--setenv", "OMP_NUM_THREADS", "1"]
    yield from ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    yield from ["--hostname", "sandbox", "--cap-drop", "ALL"]
    if user is None:
        yield "--unshare-user"
    else:  # the kernel's limit on processes does not hold for root, not even for root behind another name
        yield from ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _filter(filter_file: int | None) -> list[str]:
    return [] if filter_file is None else ["--seccomp", str(filter_file)]


def _files(limits: Limits) -> Iterator[str]:
    """What the program sees: all of it read-only, but for /tmp and a little shared memory for locks."""
    made: set[Path] = set()
    for path in interpreter.folders():
        yield from _parents(path, made)
        yield from ["--ro-bind", str(path), str(path)]
    for path in interpreter.hidden():
        yield from ["--size", "4096", "--perms", "0555", "--tmpfs", str(path)]
    for path in interpreter.libraries():
        yield from [*_parents(Path("/libraries") / path.name, made), "--ro-bind", str(path), f"/libraries/{path.name}"]
    yield from ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    yield from ["--size", str(_SHARED_MEMORY), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
    yield from ["--size", str(limits.disk), "--perms", "1777", "--tmpfs", "/tmp", "--remount-ro", "/"]  # noqa: S108


def _parents(path: Path, made: set[Path]) -> Iterator[str]:
    """Folders on the way to a path, for anyone to pass through: bubblewrap makes them for their owner only."""
    for parent in reversed(path.parents[:-1]):
        if parent not in made:
            made.add(parent)
            yield from ["--perms", "0755", "--dir", str(parent)]


def _unnamed_file(content: bytes | None) -> int | None:
    """A descriptor to read the content from."""
    if content is None:
        return None
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
