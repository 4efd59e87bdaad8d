# ruff: noqa: E501 - a program is easier to read on its line
"""Harmful programs. Each prints "did it" if it could do what it should not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Harmful:
    """A program, and what stops it.

    Attributes:
        name: what it tries.
        source: its text.
        stopped_by: a limit of the sandbox; or None, if it ends by itself with what it tried refused.
    """

    name: str
    source: str
    stopped_by: str | None = None


def refused(body: str) -> str:
    """A program that tries something, and says so if that raised nothing."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"import os, sys, socket, ctypes, glob, signal, stat, resource, time\ntry:\n{lines}\nexcept (OSError, MemoryError, ValueError, AssertionError, ImportError): pass\nelse:\n    print('did it')\n"


FIND = """
found = []
for folder, folders, files in os.walk('/'):
    folders[:] = [name for name in folders if name != 'proc']
    found += [name for name in folders + files if {}]
assert found
"""
SYSTEM_CALL = "libc = ctypes.CDLL(None, use_errno=True)\nassert libc.{} >= 0\n"

READS = [
    Harmful(f"reads {path}", refused(f"open({path!r}).read()"))
    for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/root/.profile", "/proc/1/mem", "/proc/kcore", "/sys/kernel/uevent_seqnum")
]  # fmt: skip
LOOKS = [
    Harmful("lists the home folders", refused("assert os.listdir('/home') or os.listdir('/root/.ssh')")),
    Harmful("reads the caller's secret in the environment",
            refused("assert 'hf_secret' in str(dict(os.environ)) + open('/proc/self/environ').read()")),
    Harmful("looks for the caller's secret in the first process",
            refused("assert 'hf_secret' in open('/proc/1/environ').read()")),
    Harmful("finds this checkout", refused(FIND.format("name == 'crossdistill'"))),
    Harmful("finds packages", refused("import torch")),
    Harmful("finds a shell", refused("assert os.path.exists('/bin/sh') or os.path.exists('/usr/bin/env')")),
    Harmful("sees other processes", refused("assert len([p for p in os.listdir('/proc') if p.isdigit()]) > 3")),
]  # fmt: skip
WRITES = [
    Harmful(f"writes {path}", refused(f"open({path!r}, 'w').write('x')"))
    for path in ("/x", "/etc/x", "/usr/lib/x", "/dev/x", "/var/tmp/x", "/root/x", "/libraries/x", "/proc/sys/kernel/hostname",
                 "/sys/x")
] + [
    Harmful("writes into its interpreter", refused("open(os.__file__, 'a').write('x')")),
    Harmful("deletes its interpreter", refused("os.remove(os.__file__)")),
    Harmful("mounts", refused(SYSTEM_CALL.format("mount(b'none', b'/tmp', b'tmpfs', 0, 0)"))),
    Harmful("makes the root writable", refused(SYSTEM_CALL.format("mount(None, b'/', None, 32, 0)"))),
    Harmful("makes a device", refused("os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0))\nopen('/tmp/sda', 'rb')")),
]  # fmt: skip
NETWORK = [
    Harmful("connects by IPv4", refused("socket.create_connection(('1.1.1.1', 53), 2)")),
    Harmful("connects by IPv6", refused("socket.create_connection(('2606:4700:4700::1111', 53), 2)")),
    Harmful("sends a datagram", refused("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))")),
    Harmful("resolves a name", refused("socket.getaddrinfo('example.com', 80)")),
    Harmful("reaches a server of this machine", refused("socket.create_connection(('127.0.0.1', PORT), 2)")),
    Harmful("reaches an abstract unix socket", refused("socket.socket(socket.AF_UNIX).connect('\\0crossdistill-test')")),
    Harmful("reaches a unix socket of this machine", refused(FIND.format("stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)"))),
    Harmful("opens a raw socket", refused("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")),
    Harmful("opens a packet socket", refused("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")),
]  # fmt: skip
OTHERS = [
    Harmful("kills its parent", refused("os.kill(os.getppid(), 9)\ntime.sleep(0.2)\nassert False")),
    Harmful("kills everything", refused("signal.signal(15, signal.SIG_IGN)\nos.kill(-1, 15)\nassert False")),
    Harmful("kills the caller", refused("os.kill(PARENT, 9)")),
    Harmful("traces its parent", refused(SYSTEM_CALL.format("ptrace(16, os.getppid(), 0, 0)"))),
    Harmful("reads its parent's memory", refused("open(f'/proc/{os.getppid()}/mem', 'rb').read(1)")),
    Harmful("becomes root", refused("os.setuid(0)\nassert os.getuid() == 0 and open('/x', 'w')")),
    Harmful("raises its limits", refused("resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))")),
    Harmful("makes a user namespace", refused(SYSTEM_CALL.format("unshare(0x10000000)"))),
    Harmful("holds System V memory", refused(SYSTEM_CALL.format("shmget(0, 1 << 20, 0o1600)"))),
    Harmful("holds memory as a file", refused("os.memfd_create('x')")),
    Harmful("opens a thousand files", refused("files = [open('/dev/null') for _ in range(1000)]")),
    Harmful("writes a large file", refused("with open('/tmp/x', 'wb') as f:\n    for _ in range(256): f.write(bytes(1 << 20))")),
    Harmful("writes many files", refused(
        "for n in range(256):\n    with open(f'/tmp/{n}', 'wb') as f: f.write(bytes(1 << 20))")),
    Harmful("fills the shared memory", refused("with open('/dev/shm/x', 'wb') as f: f.write(bytes(8 << 20))")),
    Harmful("allocates at once", refused("block = bytearray(64 << 30)")),
    Harmful("deletes its folder", "import os, shutil\nshutil.rmtree('/tmp', ignore_errors=True)\nprint(os.path.isdir('/tmp'))"),
    Harmful("exits early", "import os\nos._exit(0)"),
]  # fmt: skip
ENDLESS = [
    Harmful("loops", "while True: pass", "seconds"),
    Harmful("sleeps", "import time\ntime.sleep(1000)", "seconds"),
    Harmful("ignores signals", "import signal, time\nfor n in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)\ntime.sleep(1000)",
            "seconds"),
    Harmful("closes its output and runs on", "import os\nfor n in range(3): os.close(n)\nwhile True: pass", "seconds"),
    Harmful("prints for ever", "while True: print('x' * 1000)", "output"),
    Harmful("complains for ever", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", "output"),
    Harmful("leaves a daemon behind that holds the output",
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)"),
    Harmful("allocates bit by bit", "blocks = []\nwhile True: blocks.append(bytearray(1 << 22))", "memory"),
    Harmful("allocates in many processes",
            "import os, time\nfor _ in range(8):\n    if os.fork() == 0: block = bytearray(100 << 20); time.sleep(1000)\ntime.sleep(1000)",
            "memory"),
    Harmful("computes in many processes",
            "import os\nfor _ in range(8):\n    if os.fork() == 0: break\nwhile True: pass", "time"),
    Harmful("starts threads", refused("import threading\nfor _ in range(500): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()")
            .replace("ValueError", "ValueError, RuntimeError")),
    Harmful("forks for ever", "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)", "time"),
    Harmful("recurses", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()", "memory"),
]  # fmt: skip
ALL = [*READS, *LOOKS, *WRITES, *NETWORK, *OTHERS, *ENDLESS]
"""The programs; ``stopped_by="time"`` is any limit of time, memory or processes: which comes first depends on the machine."""
