"""Which sandbox is taken, what is refused, and what a machine without one is told."""

import json
import stat
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.sandbox import Limits, Program, choose, docker
from crossdistill.eval.sandbox.bubblewrap import Bubblewrap, command
from crossdistill.eval.sandbox.docker import Docker
from crossdistill.eval.sandbox.system_calls import REFUSED, seccomp_filter


def tool(folder: Path, name: str, script: str) -> None:
    """A command of that name."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_names() -> None:
    assert choose().name == choose("bubblewrap").name == "bubblewrap"
    assert choose("docker").name == "docker"
    assert choose(unsandboxed=True).name == "unsandboxed"
    with pytest.raises(InputError, match="no sandbox 'podman': choose one of bubblewrap, docker"):
        choose("podman")
    with pytest.raises(InputError, match="both asked for"):
        choose("docker", unsandboxed=True)


def test_without_bubblewrap_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"not installed: install it \(apt install bubblewrap, .*--unsandboxed"):
        Bubblewrap().check()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '--tmpfs DEST'", "older than 0.7"),
        (
            'case "$*" in *--help*) echo --size;; *) echo "setting up uid map: Permission denied" >&2; exit 1;; esac',
            r"cannot run here \(setting up uid map: Permission denied\): allow unprivileged user namespaces",
        ),
        (
            'case "$*" in *--help*) echo --size;; *) printf "Traceback:\\n  1\\nOSError: no\\n" >&2; exit 1;; esac',
            r"cannot run here \(OSError: no\): allow",
        ),
    ],
)
def test_a_bubblewrap_that_cannot_run_is_refused(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "bwrap", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=message):
        Bubblewrap().check()


def test_command_of_bubblewrap() -> None:
    line = command(Limits(disk=1234), user=None, filter_file=None)
    assert {"--unshare-net", "--unshare-pid", "--unshare-user", "--clearenv", "--die-with-parent"} < {*line}
    assert "--bind" not in line
    assert "1234" in line
    assert "--unshare-user" not in command(Limits(), user=65000, filter_file=None)


def test_the_filter_is_for_machines_whose_calls_are_known() -> None:
    for machine in ("x86_64", "aarch64"):
        program = seccomp_filter(machine)
        assert program is not None
        assert len(program) == 8 * (len(REFUSED) + 7)
    assert seccomp_filter("riscv64") is None


def test_docker_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="docker is not installed"):
        Docker().check()


def test_docker_without_an_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no Docker engine answers \(Cannot connect to the Docker daemon\)"):
        Docker().check()


def test_docker_without_the_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "docker", '[ "$1" = info ] || { echo "No such image" >&2; exit 1; }')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="image mine is not there: docker pull mine"):
        Docker("mine").check()


def test_command_of_docker() -> None:
    line = docker.command("image", "name", Limits(memory=7 << 20, processes=5, disk=9))
    pairs = set(pairwise(line))
    assert {
        ("--network", "none"),
        ("--user", "65534:65534"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", str(7 << 20)),
        ("--memory-swap", str(7 << 20)),
        ("--pids-limit", "5"),
        ("--tmpfs", "/tmp:rw,size=9,mode=1777"),
        ("--entrypoint", "python"),
    } < pairs
    assert "--read-only" in line
    assert not {"--volume", "-v", "--mount", "--privileged", "--env", "-e"} & {*line}
    assert json.loads(line[-1])["rlimits"]["RLIMIT_NPROC"] == 5
    assert line.index("image") > max(line.index(option) for option in line if option.startswith("--"))


def test_a_container_is_removed_when_its_program_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is played by a script that runs no program."""
    log = tmp_path / "log"
    tool(tmp_path, "docker", f'echo "$1 $2" >> {log}; [ "$1" = run ] && echo done')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert Docker().run(Program("print(1)"), Limits(seconds=10)).output == b"done\n"
    assert log.read_text().splitlines() == ["run --rm", "rm --force"]


def test_no_engine_is_asked_by_merely_choosing_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    choose("docker")
