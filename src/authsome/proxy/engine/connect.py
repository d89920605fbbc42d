"""CONNECT at the owner's upstream proxy: its answer is read to the last byte and no further, the rest is the origin's.

What comes after the answer stays in the kernel, so that the socket can be used as if it had been dialled directly.
"""

import asyncio
import re
import socket

from authsome.broker.egress import Hop

LONGEST_ANSWER = 65536

_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class HopRefused(Exception):
    """The proxy does not connect us, and what it did instead, without a word of its own. `status` is 0 without one."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


async def ask(sock: socket.socket, hop: Hop, target: str) -> None:
    """Have the proxy connect a socket to `host:port`. Raises HopRefused, OSError; the caller bounds the time."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if hop.authorization is not None:
        lines.append(f"Proxy-Authorization: {hop.authorization.reveal()}")
    await asyncio.get_running_loop().sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    found = _STATUS.match(await _answer(sock))
    if not found:
        raise HopRefused("does not answer in HTTP")
    if not found[1].startswith(b"2"):
        raise HopRefused(f"answered {found[1].decode()}", int(found[1]))


async def _answer(sock: socket.socket) -> bytes:
    """The head of the answer; whatever fields it has, a body does not follow a success (RFC 9110 §9.3.6)."""
    loop = asyncio.get_running_loop()
    head = b""
    while len(head) < LONGEST_ANSWER:
        byte = await loop.sock_recv(sock, 1)
        if not byte:
            raise HopRefused("closed the connection")
        head += byte
        if not head.endswith(_END):
            head += _take_rest(sock, head)
        if head.endswith(_END):
            return head
    raise HopRefused("answers with an endless head")


def _take_rest(sock: socket.socket, head: bytes) -> bytes:
    """What has arrived by now, as far as it belongs to the head."""
    try:
        there = sock.recv(LONGEST_ANSWER - len(head), socket.MSG_PEEK)
    except BlockingIOError:
        return b""
    before = head[1 - len(_END) :]
    end = (before + there).find(_END)
    return sock.recv(len(there) if end < 0 else end + len(_END) - len(before))
