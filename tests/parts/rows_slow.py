"""A program for inside a run: opens many connections to the proxy, each as slow as can be, and tells how they ended.

Arguments: how many of each kind, the routed host, and for how many seconds at most. Prints a line once all are open,
and then, for each kind, after how many seconds each connection was closed (null: it was not).
"""

import json
import os
import resource
import socket
import ssl
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from parts.rows_child import AUTH, dial

EVERY = 4.0  # seconds from one byte to the next: more often than the proxy waits for all of them


@dataclass
class Slow:
    """A connection, what is said on it, and when it began and was closed."""

    kind: str
    sock: socket.socket
    rest: bytes
    began: float = 0.0
    closed: float | None = None

    def drip(self) -> None:
        """The next byte."""
        self.began = self.began or time.monotonic()
        with suppress(OSError):  # what became of it is seen by look()
            self.sock.send(self.rest[:1])
        self.rest = self.rest[1:]

    def look(self) -> None:
        """Whether it was closed. What is said before that, such as a refusal, is of no interest here."""
        try:
            while self.sock.recv(4096):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self.closed = time.monotonic() - self.began


def connected(host: str) -> socket.socket:
    """After a CONNECT that was accepted."""
    sock = dial()
    sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{AUTH}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return sock


def hello(context: ssl.SSLContext, host: str) -> bytes:
    """How a TLS handshake begins."""
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=host).do_handshake()
    return out.read()


def main() -> None:
    """See the module."""
    number, host, most = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    context = ssl.create_default_context()
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\n".encode()
    begun, insides = hello(context, host), []
    for _ in range(number):  # first, for they take longest to open
        insides.append(context.wrap_socket(connected(host), server_hostname=host))
    all_of_them = [
        *(Slow("in the head inside", inside, head) for inside in insides),
        *(Slow("in the TLS hello", connected(host), begun) for _ in range(number)),
        *(Slow("in the head of a CONNECT", dial(), b"CONNECT " + head) for _ in range(number)),
    ]
    for each in all_of_them:
        each.sock.setblocking(False)
        each.drip()
    print("open", flush=True)
    began, drips = time.monotonic(), 1
    while time.monotonic() < began + most and any(each.closed is None for each in all_of_them):
        waiting = [each for each in all_of_them if each.closed is None]
        for each in waiting:
            each.look()
        if time.monotonic() > began + drips * EVERY:
            drips += 1
            for each in waiting:
                each.drip()
        time.sleep(0.1)
    kinds = {each.kind: [other.closed for other in all_of_them if other.kind == each.kind] for each in all_of_them}
    print(json.dumps(kinds), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
