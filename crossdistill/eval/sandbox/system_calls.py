"""The system calls that a program in a sandbox is refused, as a seccomp filter."""

import platform
import struct

# System call -> its number on x86-64 and on 64-bit ARM (Linux: arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h). They hold memory that no process is charged for, look into other processes, or
# open a namespace or a part of the kernel that no graded program needs.
REFUSED = {
    "shmget": (29, 194),
    "msgget": (68, 186),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld [k]; jeq #k; jge #k; ret #k
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # struct seccomp_data
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050001  # SECCOMP_RET_*; the last returns EPERM
_X32 = 0x40000000  # numbers from here on are a second table of x86-64


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """The filter as a BPF program (seccomp(2), struct sock_filter), or None for a machine it is not written for.

    Args:
        machine: as ``platform.machine()`` names it; None for this one.

    Example:
        >>> len(seccomp_filter("x86_64")) // 8 - len(REFUSED)
        7
    """
    known = _ARCHITECTURES.get(machine or platform.machine())
    if known is None:
        return None
    column, architecture = known
    numbers = [pair[column] for pair in REFUSED.values()]
    to_the_end = len(numbers) + 1
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, to_the_end + 3, architecture),  # to the kill
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, to_the_end, 0, _X32),
        *((_EQUAL, to_the_end - 1 - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _KILL),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
