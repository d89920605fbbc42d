"""System calls that Python has no names for. Each raises OSError with the name of the call in `filename`."""

import ctypes
import os
import platform
import struct

# clone(2)
NEWTIME, NEWNS, NEWCGROUP, NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
NEWIPC, NEWUSER, NEWPID, NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000

# mount(2)
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 0x4000, 0x40000

# these calls came after all architectures had agreed on one table
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_HERE, _ANY_DEPTH, _CLOEXEC = -100, 0x8000, 0o2000000
_EMPTY_SOURCE = 4  # MOVE_MOUNT_F_EMPTY_PATH
_CLONE = 1  # OPEN_TREE_CLONE

_PR_SET_DEATH_SIGNAL, _PR_SET_DUMPABLE, _PR_DROP_BOUND, _PR_SECURE_BITS, _PR_NO_NEW_PRIVILEGES = 1, 4, 24, 28, 38
_PR_AMBIENT, _AMBIENT_CLEAR_ALL = 47, 4
_NO_ROOT = 0x2F  # no capability comes back to user 0, not at exec and not by a change of user; all of it locked
_CAPABILITIES_3 = 0x20080522

MACHINE = platform.machine()
"""`x86_64` and `aarch64` are known to `seccomp`."""

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """The result of a call that is negative where it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def system_call(number: int, *arguments: object) -> int:
    """The raw result of a system call."""
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def process_control(option: int, *arguments: object) -> None:
    """prctl(2)."""
    padded = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (*arguments, 0, 0, 0, 0)][:4]
    check(_libc.prctl(option, *padded), f"prctl {option}")


def unshare(flags: int) -> None:
    """Go on in new namespaces."""
    check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    texts = [os.fsencode(text) or None for text in (source, target, kind)]
    check(_libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(data) or None), f"mount {kind or 'flags'}")


def detached(path: str) -> int:
    """A copy of what is mounted at a path and below, not attached anywhere yet."""
    flags = _CLONE | _ANY_DEPTH | _CLOEXEC
    return check(system_call(_OPEN_TREE, _HERE, os.fsencode(path), flags), "open_tree")


def attach(tree: int, path: str) -> None:
    """Mount such a copy over a path, and close it."""
    check(system_call(_MOVE_MOUNT, tree, b"", _HERE, os.fsencode(path), _EMPTY_SOURCE), "move_mount")
    os.close(tree)


def restrict(path: str, flags: int, *, below: bool = False) -> None:
    """Add flags to a mount, and to all that are mounted below it."""
    attributes = struct.pack("=QQQQ", flags & (READ_ONLY | NO_SUID | NO_DEV | NO_EXEC), 0, 0, 0)
    depth = _ANY_DEPTH if below else 0
    arguments = (_HERE, os.fsencode(path), depth, attributes, ctypes.c_size_t(len(attributes)))
    check(system_call(_MOUNT_SETATTR, *arguments), "mount_setattr")


def die_with_parent() -> None:
    """Be killed where the parent ends."""
    process_control(_PR_SET_DEATH_SIGNAL, 9)


def hide_memory() -> None:
    """Nobody without privileges outside may look into this process: not at its memory, environment or descriptors."""
    process_control(_PR_SET_DUMPABLE, 0)


def drop_privileges() -> None:
    """Give up every capability for good, whatever is executed."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    process_control(_PR_NO_NEW_PRIVILEGES, 1)
    process_control(_PR_SECURE_BITS, _NO_ROOT)
    process_control(_PR_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(last + 1):
        process_control(_PR_DROP_BOUND, capability)
    check(_libc.capset(struct.pack("=Ii", _CAPABILITIES_3, 0), bytes(24)), "capset")
