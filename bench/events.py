"""How long each event of a stream (SSE) is on its way: the server stamps it by the clock that both processes share."""

import ssl
import time

from bench.dialling import Target

PATH = "/v1/events"
COUNT = 400
INTERVAL = 0.005


def event() -> bytes:
    """An event with the time in it, as a chunk of an answer."""
    data = f"event: tick\ndata: {time.monotonic():.7f}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def delays(connection: ssl.SSLSocket, target: Target) -> list[float]:
    """Seconds from the stamp of each event to its arrival."""
    connection.sendall(target.request(PATH, "Accept: text/event-stream\r\n"))
    raw = text = b""
    taken: list[float] = []
    begun = False
    while len(taken) < COUNT:
        received = connection.recv(65536)
        now = time.monotonic()
        if not received:
            raise RuntimeError(f"the stream ended after {len(taken)} events")
        raw += received
        if not begun:
            head, begun_, raw_ = raw.partition(b"\r\n\r\n")
            if not begun_:
                continue
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(raw.decode(errors="replace"))
            begun, raw = True, raw_
        more, raw = _dechunk(raw)
        text += more
        *whole, text = text.split(b"\n\n")
        taken += [now - float(each.rpartition(b"data: ")[2]) for each in whole]
    return taken


def _dechunk(raw: bytes) -> tuple[bytes, bytes]:
    """The content of the whole chunks, and the rest."""
    content = b""
    while True:
        size, line_end, rest = raw.partition(b"\r\n")
        if not line_end or len(rest) < int(size, 16) + 2:
            return content, raw
        content += rest[: int(size, 16)]
        raw = rest[int(size, 16) + 2 :]
