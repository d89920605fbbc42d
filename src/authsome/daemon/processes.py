"""What the kernel says of processes: who is whose child, and when it began."""

import contextlib
import os
from pathlib import Path

ANCESTORS = 256


def started(pid: int) -> int | None:
    """Start time in clock ticks since boot: with the pid it names one process beyond doubt. None where gone."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def ancestry(pid: int) -> list[int]:
    """The process and its ancestors, nearest first."""
    line: list[int] = []
    while pid > 0 and len(line) < ANCESTORS:
        line.append(pid)
        fields = _stat(pid)
        if fields is None:
            break
        pid = int(fields[1])
    return line


def environment(pid: int) -> bytes | None:
    """What a process was started with; None where it is gone, or hides it, or belongs to somebody else."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None


def variable(block: bytes, name: str) -> str | None:
    """A variable of such an environment."""
    prefix = name.encode() + b"="
    for entry in block.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("utf-8", "replace")
    return None


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, which may itself hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def session(pid: int) -> tuple[int, bool]:
    """The session of a process, and whether it has a terminal; 0 for one that is gone."""
    fields = _stat(pid)
    return (0, False) if fields is None else (int(fields[3]), fields[4] != "0")


def described(pid: int) -> str:
    """A process by its command line, and its parent by its name; for people, so at most 300 characters."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "a process that is gone"
    if len(words) > 1 and words[1].endswith("/authsome"):
        words = ["authsome", *words[2:]]  # without the interpreter
    line = ancestry(pid)
    parent = ""
    if len(line) > 1:
        with contextlib.suppress(OSError):
            parent = Path(f"/proc/{line[1]}/comm").read_text(encoding="utf-8", errors="replace").strip()
    text = " ".join(words).strip() + (f", started by {parent}" if parent else "")
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def can_watch() -> bool:
    """Whether this system has pidfd."""
    return hasattr(os, "pidfd_open")
