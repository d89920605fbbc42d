"""Who may hand sockets to the daemon, and which: only a run's own process, and only those of another network (P5)."""

import array
import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from authsome.daemon.handover import Handed, Handover, normal_pattern
from authsome.errors import UsageError
from authsome.model.run import Run

TOKEN = "a token"


def run_of(pid: int) -> Callable[[bytes], Run | None]:
    digest = hashlib.sha256(TOKEN.encode()).digest()
    run = Run(id="r1", token_digest=digest, pid=pid, process_started=1, command="x")
    return lambda asked: run if asked == digest else None


def say(path: Path, message: bytes, sockets: list[socket.socket]) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        numbers = array.array("i", [each.fileno() for each in sockets])
        sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if sockets else [])
        said = json.loads(sock.recv(4096))
        assert isinstance(said, dict)
        return said


def refused(tmp_path: Path, message: bytes, sockets: list[socket.socket], pid: int) -> str:
    """What the daemon says; nothing may have come through."""
    served: list[Handed] = []

    async def serve(_run: Run, handed: Handed) -> None:
        served.append(handed)

    async def talk() -> dict[str, object]:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.setblocking(False)
        handover = Handover(run_of(pid), serve)
        handover.open(listener)
        try:
            return await asyncio.to_thread(say, tmp_path / "s", message, sockets)
        finally:
            handover.close()

    before = len(os.listdir("/proc/self/fd"))
    said = asyncio.run(talk())
    assert served == []
    assert len(os.listdir("/proc/self/fd")) == before
    return str(said["message"])


@pytest.fixture
def sockets():
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)] + [socket.socket(type=socket.SOCK_DGRAM)]
    yield made
    for each in made:
        each.close()


def message(token: str = TOKEN, hosts: object = ()) -> bytes:
    return json.dumps({"token": token, "hosts": hosts}).encode()


def test_sockets_of_our_own_network_are_refused(tmp_path: Path, sockets: list[socket.socket]) -> None:
    assert refused(tmp_path, message(), sockets, os.getpid()) == "these are not the sockets of a run"
    (tmp_path / "s").unlink()
    assert refused(tmp_path, message(), sockets[:3], os.getpid()) == "these are not the sockets of a run"


def test_another_process_or_token_is_refused(tmp_path: Path, sockets: list[socket.socket]) -> None:
    assert "own process" in refused(tmp_path, message(), sockets, os.getppid())
    (tmp_path / "s").unlink()
    assert "own process" in refused(tmp_path, message("another"), sockets, os.getpid())


@pytest.mark.parametrize("said", [b"", b"x", b"[]", b"{}", message(hosts="x"), message(hosts=["a"] * 257)], ids=repr)
def test_what_is_no_handover_is_refused(tmp_path: Path, sockets: list[socket.socket], said: bytes) -> None:
    assert refused(tmp_path, said, sockets, os.getpid()) == "that is no handover"


def test_a_host_that_is_none_is_named(tmp_path: Path, sockets: list[socket.socket]) -> None:
    assert refused(tmp_path, message(hosts=["a b"]), sockets, os.getpid()).startswith("--allow-host a b: ")


def test_more_descriptors_than_asked_for_are_closed(tmp_path: Path, sockets: list[socket.socket]) -> None:
    assert refused(tmp_path, message(), sockets * 2, os.getpid()) == "that is no handover"


@pytest.mark.parametrize(
    ("text", "normal"), [("Example.COM", "example.com"), ("*.Example.com.", "*.example.com"), ("10.0.0.1", "10.0.0.1")]
)
def test_a_host_has_one_spelling(text: str, normal: str) -> None:
    assert normal_pattern(text) == normal


@pytest.mark.parametrize("text", ["*", "a.*", "*.", "https://x", "x:443", "", "a b"])
def test_what_is_no_host_is_refused(text: object) -> None:
    with pytest.raises(UsageError):
        normal_pattern(text)
