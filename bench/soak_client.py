"""`python -m bench.soak_client RATE SECONDS NAME FILE KINDS`: one of the soak's clients, a child of `authsome run`.

Begins RATE requests a second of those KINDS of `soak_plan`, on kept-alive and on new connections. Each has an id that
begins with NAME. Writes `[[id, kind, outcome, new connection, what a refusal said], …]` to FILE at the end.
"""

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import random
import ssl
import sys
import time
from pathlib import Path

import uvloop

from bench.dialling import Target, dial, trust
from bench.soak_plan import ECHOES, HOST, KINDS, LARGE, VARIABLE, body_of, size_of
from bench.websocket import opening

PATIENCE = 30.0
KEPT = 0.8
MOST_AT_ONCE = 400
RIGHT, WRONG, SHORT, CLOSED, LEFT, LATE = "200", "wrong", "short", "closed", "left", "late"

_TARGET = Target(HOST, None)


class Line:
    """A TLS connection to the API, through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.reusable = False
        self.refusal = ""

    def drop(self) -> None:
        """Close it without a word."""
        self.writer.transport.abort()


class Client:
    """See the module."""

    def __init__(self, name: str, kinds: list[str]) -> None:
        self._name = name
        self._kinds = kinds
        self._shares = [KINDS[kind].share for kind in kinds]
        self._tls = trust()
        self._idle: list[Line] = []
        self.outcomes: list[tuple[str, str, str, bool, str]] = []

    async def run(self, rate: float, seconds: float) -> None:
        """Begins requests at random moments, and waits for the last of them."""
        begun, tasks, number, due = time.monotonic(), set[asyncio.Task[None]](), 0, 0.0
        while (due := due + random.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
            while len(tasks) > MOST_AT_ONCE:
                await asyncio.sleep(0.01)
            number += 1
            task = asyncio.create_task(self._one(f"{self._name}-{number}"))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for line in self._idle:
            line.drop()

    async def _one(self, identity: str) -> None:
        kind = random.choices(self._kinds, self._shares)[0]
        line, fresh, outcome = None, True, CLOSED
        try:
            async with asyncio.timeout(PATIENCE):
                line, fresh = await self._line()
                outcome = await self._ask(line, kind, identity)
        except TimeoutError:
            outcome = LATE
        except (OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            outcome = f"{CLOSED}: {type(error).__name__}"
        self.outcomes.append((identity, kind, outcome, fresh, line.refusal if line is not None else ""))
        if line is not None:
            if line.reusable and random.random() < KEPT:
                self._idle.append(line)
            elif random.random() < 0.5:
                line.drop()
            else:
                line.writer.close()

    async def _line(self) -> tuple[Line, bool]:
        while self._idle:
            line = self._idle.pop()
            if not line.reader.at_eof() and not line.writer.is_closing():
                return line, False
        sock = await asyncio.get_running_loop().run_in_executor(None, dial, _TARGET)
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=HOST)
        return Line(reader, writer), True

    async def _ask(self, line: Line, kind: str, identity: str) -> str:
        line.reusable, line.refusal = False, ""
        if kind == "socket":
            return await self._talk(line, identity)
        sent = b""
        if KINDS[kind].method == "POST":
            sent = await self._upload(line, kind, identity)
            if kind == "leave-sending":
                line.drop()
                return LEFT
        else:
            line.writer.write(_head(kind, identity))
        if kind == "leave-waiting":
            await asyncio.sleep(random.uniform(0, 0.15))
            line.drop()
            return LEFT
        status, fields = await _read_head(line)
        if kind == "leave-reading" and status == RIGHT:
            await line.reader.readexactly(1000)
            line.drop()
            return LEFT
        try:
            body = await _read_body(line, fields, hesitant=kind == "large")
        except (OSError, asyncio.IncompleteReadError):
            return SHORT
        line.reusable = fields.get("connection", "").lower() != "close"
        if status != RIGHT:
            line.refusal = body[:300].decode(errors="replace").strip()
            return status
        if fields.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return RIGHT if body == _expected(kind, identity, sent) else WRONG

    async def _upload(self, line: Line, kind: str, identity: str) -> bytes:
        """Sends a body in pieces, whole or in part, measured or chunked. Gives the whole body."""
        body = body_of(identity, random.randrange(1, 200_000))
        chunked = random.random() < 0.5
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        line.writer.write(_head(kind, identity, f"{framing}\r\n"))
        upto = len(body) // 2 if kind == "leave-sending" else len(body)
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # what was answered is read all the same
            for at in range(0, upto, 30_000):
                piece = body[at : min(at + 30_000, upto)]
                line.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await line.writer.drain()
            if chunked and kind != "leave-sending":
                line.writer.write(b"0\r\n\r\n")
        return body

    async def _talk(self, line: Line, identity: str) -> str:
        line.writer.write(opening(_TARGET).replace(b"/v1/socket", f"/socket/{identity}".encode()))
        head = await line.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            return head.split()[1].decode()
        for _ in range(ECHOES):
            message, mask = random.randbytes(random.randrange(1, 100)), random.randbytes(4)
            masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(message))
            line.writer.write(b"\x82" + bytes([0x80 | len(message)]) + mask + masked)
            if await line.reader.readexactly(2 + len(message)) != b"\x82" + bytes([len(message)]) + message:
                return WRONG
        return RIGHT


def _head(kind: str, identity: str, more: str = "") -> bytes:
    return _TARGET.request(f"/{kind}/{identity}", more, method=KINDS[kind].method)


def _expected(kind: str, identity: str, sent: bytes) -> bytes:
    match kind:
        case "upload":
            return hashlib.sha256(sent).hexdigest().encode()
        case "stream" | "cut":
            return body_of(identity, 20_000)
        case "large":
            return body_of(identity, LARGE)
        case _:
            return body_of(identity, size_of(identity))


async def _read_head(line: Line) -> tuple[str, dict[str, str]]:
    head = (await line.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.strip().split("\r\n")
    pairs = (each.partition(":") for each in rest)
    return first.split()[1], {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(line: Line, fields: dict[str, str], *, hesitant: bool) -> bytes:
    if "chunked" not in fields.get("transfer-encoding", ""):
        return await _read(line, int(fields["content-length"]), hesitant=hesitant)
    body = b""
    while size := int(await line.reader.readuntil(b"\r\n"), 16):
        body += await _read(line, size, hesitant=hesitant)
        await line.reader.readexactly(2)
    await line.reader.readuntil(b"\r\n")
    return body


async def _read(line: Line, size: int, *, hesitant: bool) -> bytes:
    """So many bytes; slowly where hesitant."""
    if not hesitant:
        return await line.reader.readexactly(size)
    got = b""
    while len(got) < size:
        got += await line.reader.readexactly(min(32768, size - len(got)))
        await asyncio.sleep(random.uniform(0, 0.1))
    return got


async def main(rate: float, seconds: float, name: str, file: Path, kinds: list[str]) -> None:
    """Runs, and writes down what became of each request."""
    client = Client(name, kinds)
    await client.run(rate, seconds)
    file.write_text(json.dumps(client.outcomes))


if __name__ == "__main__":
    os.environ.setdefault("BENCH_API_KEY", os.environ.get(VARIABLE, "none"))
    random.seed(sys.argv[3])
    uvloop.run(main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5].split(",")))
