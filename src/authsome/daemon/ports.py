"""Binding loopback ports, and naming who has one already."""

import errno
import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from authsome.daemon import processes
from authsome.errors import PortTaken

LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp
OURS = "another authsome daemon"


def bind(host: str, port: int, *, variable: str) -> socket.socket:
    """A listening socket on loopback. Raises PortTaken naming the owner of the port and how to choose another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1" if host == "localhost" else host, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise told(error, port, variable) from None
    return sock


def check_free(host: str, port: int, *, variable: str) -> None:
    """Raises PortTaken as `bind` does."""
    bind(host, port, variable=variable).close()


def told(error: OSError, port: int, variable: str) -> Exception:
    """What to raise for an address that could not be bound."""
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
        return error
    why = "is taken by " + owner_of(port) if error.errno == errno.EADDRINUSE else "may not be used by you"
    return PortTaken(
        f"port {port} {why}",
        f"choose another port: export {variable}=<port>, or set it in config.toml; or end that program",
    )


def owner_of(port: int) -> str:
    """`nginx (pid 123)` as far as the system lets us see it: a daemon of ours hides most, but answers."""
    inodes = _listeners(port)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(fd.readlink()) for fd in (directory / "fd").iterdir()]
        except OSError:
            continue  # ended, or another user's
        if any(link in inodes for link in links):
            return f"{_name(directory)} (pid {directory.name})"
    return OURS if _answers_as_ours(port) else "another program"


def _answers_as_ours(port: int) -> bool:
    """Whether the pages of an authsome daemon are there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/health")
        found = json.loads(connection.getresponse().read(1024))
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(found, dict) and found.keys() == {"ok", "version"}


def _listeners(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _name(directory: Path) -> str:
    try:
        if b"authsome.daemon" in (directory / "cmdline").read_bytes().split(b"\0"):
            block = processes.environment(int(directory.name))
            home = processes.variable(block, "AUTHSOME_HOME") if block else None
            return f"{OURS} of {home}" if home else OURS
        return (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a program"
