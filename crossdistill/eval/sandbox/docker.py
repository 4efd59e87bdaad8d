"""A sandbox by a Docker engine."""

import json
import os
import shutil
import subprocess
import uuid
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.sandbox.base import Sandbox
from crossdistill.eval.sandbox.bubblewrap import WAY_OUT
from crossdistill.eval.sandbox.limits import Limits
from crossdistill.eval.sandbox.process import Process
from crossdistill.eval.sandbox.program import BOOTSTRAP, Program

IMAGE = "python:3.11-slim"
_NOBODY = 65534
_PATIENCE_SECONDS = 60


class Docker(Sandbox):
    """A container for each run, without network, from an image that is already there.

    The watch over memory and processes is the engine's. Tests that need packages beside the standard library need an
    image that has them.
    """

    name = "docker"

    def __init__(self, image: str = IMAGE) -> None:
        self.image = image

    def check(self) -> None:
        if shutil.which("docker") is None:
            raise InputError(f"docker is not installed: install it, use bubblewrap, {WAY_OUT}.")
        if said := _complaint("docker", "info", "--format", "{{.ServerVersion}}"):
            raise InputError(f"no Docker engine answers ({said}): start it, use bubblewrap, {WAY_OUT}.")
        if _complaint("docker", "image", "inspect", "--format", "{{.Id}}", self.image):
            raise InputError(f"the image {self.image} is not there: docker pull {self.image}.")

    def start(self, program: Program, limits: Limits) -> Process:
        name = f"crossdistill-{uuid.uuid4().hex}"
        process = Process(
            command(self.image, name, limits),
            limits,
            environment=_environment(),
            end=lambda: _complaint("docker", "rm", "--force", name),
        )
        process.send(program.message())
        return process


def command(image: str, name: str, limits: Limits) -> list[str]:
    """The command line of one run.

    Example:
        >>> command("python:3.11-slim", "run-1", Limits())[:6]
        ['docker', 'run', '--rm', '--interactive', '--pull', 'never']
    """
    settings: dict[str, Any] = {"rlimits": limits.rlimits(), "user": None, "path": []}
    options = {
        "--pull": "never",
        "--name": name,
        "--network": "none",
        "--ipc": "none",
        "--user": f"{_NOBODY}:{_NOBODY}",
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
        "--memory": str(limits.memory),
        "--memory-swap": str(limits.memory),
        "--pids-limit": str(limits.processes),
        "--tmpfs": f"/tmp:rw,size={limits.disk},mode=1777",  # noqa: S108
        "--workdir": "/tmp",  # noqa: S108
        "--entrypoint": "python",
    }
    flags = [part for option in options.items() for part in option]
    python = ["-I", "-S", "-c", BOOTSTRAP, json.dumps(settings)]
    return ["docker", "run", "--rm", "--interactive", *flags, "--read-only", "--init", image, *python]


def _environment() -> dict[str, str]:
    """What the client needs to find its engine; a container gets none of it."""
    return {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"} or name.startswith("DOCKER_")}


def _complaint(*command: str) -> str:
    """What a command said, if it failed; else nothing."""
    try:
        run = subprocess.run(  # noqa: S603 - our own command line
            command, capture_output=True, text=True, check=False, env=_environment(), timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE_SECONDS} s"
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
