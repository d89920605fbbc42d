"""A mark that every process of a run inherits, even one that left its process tree and cleaned its environment.

It is a lowered hard resource limit (Linux: POSIX message queues, of which a run loses some KiB), with a pattern in its
low bits. Without privileges a hard limit can be lowered further but never raised, so whoever has less than the daemon
may have come from a run.
"""

import resource

_BITS, _PATTERN = 0xFFF, 0xA57
_USUAL = 819200


def put_on() -> None:
    """Mark this process and what it will start. Nothing happens where the system has no such limit."""
    limit = getattr(resource, "RLIMIT_MSGQUEUE", None)
    if limit is None:
        return
    _, most = resource.getrlimit(limit)
    usual = _USUAL if most == resource.RLIM_INFINITY else most
    marked = (usual & ~_BITS) - _BITS - 1 + _PATTERN
    if not _is_ours(most) and marked > 0:
        resource.setrlimit(limit, (marked, marked))


def is_on(pid: int | str = "self") -> bool:
    """Whether a process carries it, or has less than this one."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    hard = next((line[47:68].strip() for line in lines if line.startswith("Max msgqueue size")), "")
    if not hard.isdigit():
        return False
    _, own = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    return _is_ours(int(hard)) or int(hard) < own or own == resource.RLIM_INFINITY


def _is_ours(most: int) -> bool:
    return most > 0 and most & _BITS == _PATTERN
