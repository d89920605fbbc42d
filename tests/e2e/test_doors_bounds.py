"""What a door keeps of one client has its bound: fields, trailers, requests, connections (W13, P28)."""

import contextlib
import http.client
import socket
import time
from collections.abc import Callable

import pytest
from e2e.doors import Doors, read, send

from authsome.daemon.guard import HEADERS
from authsome.daemon.serve import HEAD_LIMIT, MOST_CONNECTIONS, MOST_FIELDS, MOST_WAITING

Connect = Callable[[Doors], socket.socket]


def browser(doors: Doors) -> socket.socket:
    """A connection to the port."""
    return socket.create_connection(("127.0.0.1", doors.port), timeout=30)


def owner(doors: Doors) -> socket.socket:
    """A connection to the socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(doors.home.path / "run" / "daemon.sock"))
    return sock


both = pytest.mark.parametrize("connect", [browser, owner])


def begun(doors: Doors, *fields: str, method: str = "GET", target: str = "/health") -> bytes:
    """A request's head without the empty line at its end."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{doors.port}", *fields, ""]
    return "\r\n".join(lines).encode()


def is_cut(sock: socket.socket, piece: bytes, most: int = 64 << 20) -> bool:
    """Whether somebody who sends on and on is sent away before that many bytes."""
    try:
        for _ in range(0, most, len(piece)):
            sock.sendall(piece)
    except ConnectionError:
        return True
    return False


@both
def test_a_body_in_chunks_is_refused_before_it_can_have_trailers_without_end(doors: Doors, connect: Connect) -> None:
    with connect(doors) as sock:
        sock.sendall(begun(doors, "Transfer-Encoding: chunked", method="POST") + b"\r\n0\r\n")
        answer = read(sock)
        assert answer.status == 411 and answer.text == "a body is taken only with its length"
        for name, value in HEADERS:
            assert answer.all(name.decode()) == [value.decode()]
        assert is_cut(sock, b"a: " + b"x" * 65536 + b"\r\n")


@both
def test_as_many_fields_as_anybody_has_are_taken_and_no_more(doors: Doors, connect: Connect) -> None:
    for extra, status in ((0, 200), (1, 431)):
        fields = [f"x{number}: y" for number in range(MOST_FIELDS - 1 + extra)]
        with connect(doors) as sock:
            sock.sendall(begun(doors, *fields) + b"\r\n")
            assert read(sock).status == status


@both
@pytest.mark.parametrize("where", ["target", "field", "fields", "empty lines"])
def test_a_head_is_cut_off_at_its_limit(doors: Doors, connect: Connect, where: str) -> None:
    def head_of(size: int) -> bytes:
        match where:
            case "target":
                return f"GET /health?{'x' * size}".encode()
            case "field":
                return begun(doors, "x: " + "y" * size)
            case "fields":
                return begun(doors, *(f"x: {'y' * (size // 100)}" for _ in range(100)))
            case _:
                return b"\r\n" * (size // 2)

    with connect(doors) as sock:
        sock.sendall(head_of(HEAD_LIMIT - 2000) + (b" HTTP/1.1\r\n" if where == "target" else b""))
        sock.sendall(begun(doors).partition(b"\r\n")[2] + b"\r\n" if where == "target" else b"\r\n")
        if where == "empty lines":
            sock.sendall(begun(doors) + b"\r\n")
        assert read(sock).status == 200
    with connect(doors) as sock, pytest.raises((ConnectionError, http.client.HTTPException)):
        sock.sendall(head_of(HEAD_LIMIT + 2000))
        read(sock)  # else it would wait for the rest


@both
def test_a_large_body_that_comes_at_once_with_its_head_is_not_taken_for_one(doors: Doors, connect: Connect) -> None:
    body = b"x" * (2 * HEAD_LIMIT)  # within what is read at once
    with connect(doors) as sock:
        for _ in range(20):
            sock.sendall(begun(doors, f"Content-Length: {len(body)}") + b"\r\n" + body)
            assert read(sock).status == 200


@both
def test_requests_that_do_not_wait_for_their_answers_are_few(doors: Doors, connect: Connect) -> None:
    with connect(doors) as sock:
        sock.sendall((begun(doors) + b"\r\n") * MOST_WAITING)
        reader = sock.makefile("rb")
        for _ in range(MOST_WAITING):
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            head = http.client.parse_headers(reader)
            reader.read(int(head["content-length"]))
    with connect(doors) as sock:
        assert is_cut(sock, (begun(doors) + b"\r\n") * 1000)


@both
def test_an_answer_to_garbage_is_never_taken_for_that_of_the_request_before(doors: Doors, connect: Connect) -> None:
    with connect(doors) as sock, pytest.raises((ConnectionError, http.client.HTTPException)):
        sock.sendall(begun(doors) + b"\r\nGARBAGE\r\n\r\n")
        assert read(sock).status == 200


@both
def test_who_asks_for_another_protocol_is_answered_and_sent_away(doors: Doors, connect: Connect) -> None:
    """What would follow is in no protocol that is known here, so nothing of it is read, or told of in the log."""
    with connect(doors) as sock:
        sock.sendall(begun(doors, "Connection: Upgrade", "Upgrade: websocket") + b"\r\n")
        answer = read(sock)
        assert answer.status == 200 and answer.all("connection") == ["close"]
        assert is_cut(sock, b"x" * 65536)
    assert "upgrade" not in (doors.home.path / "logs" / "daemon.log").read_text().lower()


def test_connections_beyond_twice_the_room_are_closed_at_once(doors: Doors) -> None:
    with contextlib.ExitStack() as there:
        opened = [there.enter_context(browser(doors)) for _ in range(2 * MOST_CONNECTIONS + 20)]
        ends = time.monotonic() + 8  # before their time for a head is over
        while not all(map(is_closed, opened[-20:])):
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert doors.call("GET", "/health")[0] == 200
    ends = time.monotonic() + 10
    while send(doors.port, begun(doors) + b"\r\n").status != 200:
        assert time.monotonic() < ends
        time.sleep(0.05)


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end is gone."""
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
