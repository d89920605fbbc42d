"""HTTP/2 for either side of the world, by an implementation that is not ours."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings
from wire_world import TIMEOUT, Closed, SharedTls, Wire, World

Fields = list[tuple[bytes, bytes]]


@dataclass
class Exchanged:
    """What has arrived on one stream."""

    number: int
    fields: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    peer: "Peer | None" = None

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def status(self) -> int:
        return int(self.one(b":status"))

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def one(self, name: bytes) -> bytes:
        values = self.all(name)
        assert len(values) == 1, f"{name!r}: {values}"
        return values[0]


class Peer:
    """One end of a connection; what arrives is read by `turn`, which also answers settings and opens windows."""

    def __init__(self, wire: Wire, *, client: bool, settings: dict[SettingCodes, int] | None = None) -> None:
        self.wire = wire
        config = H2Configuration(
            client_side=client,
            header_encoding=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = H2Connection(config)
        self.streams: dict[int, Exchanged] = {}
        self.opens_windows = True
        self.goaway: int | None = None
        self.settings: dict[int, int] = {}
        self.on_event: Callable[[Exchanged, object], None] | None = None
        self._lock = threading.RLock()
        if settings:
            values = {int(code): value for code, value in (dict(self.h2.local_settings) | settings).items()}
            self.h2.local_settings = Settings(client=client, initial_values=values)
            self.h2.decoder.max_allowed_table_size = self.h2.local_settings.header_table_size
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        with self._lock:
            data = self.h2.data_to_send()
        if data:
            self.wire.send(data)

    # sending

    def ask(
        self, *fields: tuple[str, str], method: str = "GET", path: str = "/", end: bool = True, **pseudo: str
    ) -> int:
        """A request; gives the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        lines = [(":method", method), (":scheme", "https"), (":authority", "api.mock.test"), (":path", path)]
        lines = [(name, pseudo.get(name[1:], value)) for name, value in lines]
        self.streams[number] = Exchanged(number)
        self.raw_head(number, [*lines, *fields], end=end)
        return number

    def raw_head(self, number: int, fields: list[tuple[str, str]], *, end: bool = True) -> None:
        with self._lock:
            self.h2.send_headers(number, [(n.encode(), v.encode("latin-1")) for n, v in fields], end_stream=end)
        self.flush()

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Body, as the windows allow."""
        while data:
            with self._lock:
                room = min(self.h2.local_flow_control_window(number), 16384)
                if room > 0:
                    part, data = data[:room], data[room:]
                    self.h2.send_data(number, part, end_stream=end and not data)
            self.flush()
            if room <= 0:
                self.turn()
        if end and not self.streams_closed(number):
            with self._lock, suppress(Exception):
                self.h2.end_stream(number)
            self.flush()

    def streams_closed(self, number: int) -> bool:
        state = self.h2.streams.get(number)
        return state is None or state.closed or state.state_machine.state.name == "HALF_CLOSED_LOCAL"

    def head(self, number: int, status: int, *fields: tuple[str, str], end: bool = False) -> None:
        """A response, or an interim one."""
        self.raw_head(number, [(":status", str(status)), *fields], end=end)

    def trailers(self, number: int, *fields: tuple[str, str]) -> None:
        self.raw_head(number, list(fields), end=True)

    def reset(self, number: int, code: int = 8) -> None:
        with self._lock:
            self.h2.reset_stream(number, code)
        self.flush()

    # receiving

    def turn(self) -> None:
        """Take what arrives next. Raises Closed."""
        data = self.wire.more()
        with self._lock:
            events = self.h2.receive_data(data)
        for event in events:
            self._take(event)
        self.flush()

    def until(self, condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, "it did not come to it in time"
            self.turn()

    def answer(self, number: int) -> Exchanged:
        """The whole answer on a stream, or its reset."""
        self.until(
            lambda: number in self.streams and (self.streams[number].ended or self.streams[number].reset is not None)
        )
        return self.streams[number]

    def get(self, *fields: tuple[str, str], **pseudo: str) -> Exchanged:
        """Ask and wait."""
        return self.answer(self.ask(*fields, **pseudo))

    def is_closed(self) -> bool:
        try:
            while True:
                self.turn()
        except Closed:
            return True

    def _take(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
            return
        if isinstance(event, RemoteSettingsChanged):
            self.settings |= {int(code): int(each.new_value) for code, each in event.changed_settings.items()}
            return
        number = getattr(event, "stream_id", None)
        if not number:
            return
        stream = self.streams.setdefault(number, Exchanged(number))
        if isinstance(event, RequestReceived | ResponseReceived):
            stream.fields = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, InformationalResponseReceived):
            stream.interim.append([(bytes(n), bytes(v)) for n, v in event.headers])
        elif isinstance(event, DataReceived):
            stream.parts.append(bytes(event.data))
            if self.opens_windows and event.flow_controlled_length:
                with self._lock:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, TrailersReceived):
            stream.trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, StreamEnded):
            stream.ended = True
        elif isinstance(event, StreamReset):
            stream.reset = int(event.error_code)
        if self.on_event is not None:
            self.on_event(stream, event)


Handler = Callable[[Peer, Exchanged], None]


def hello(peer: Peer, stream: Exchanged) -> None:
    """The usual answer."""
    peer.head(stream.number, 200, ("content-type", "text/plain"))
    peer.send(stream.number, b"hello", end=True)


class Server:
    """The world's upstream, speaking HTTP/2: `handler` answers each request that is whole.

    `early`, if set, is told of every event instead. `peers` has each connection, `asked` every request.
    """

    def __init__(self, world: World, handler: Handler = hello, settings: dict[SettingCodes, int] | None = None) -> None:
        context = world.upstream._context
        assert context is not None
        context.set_alpn_protocols(["h2"])
        self.handler = handler
        self.early: Callable[[Peer, Exchanged, object], None] | None = None
        self.settings = settings
        self.peers: list[Peer] = []
        self.asked: list[Exchanged] = []
        world.upstream.raw = self._serve

    def answer(self, stream: Exchanged) -> None:
        """Late, where `early` gave none."""
        assert stream.peer is not None
        self.handler(stream.peer, stream)

    def _serve(self, wire: Wire) -> None:
        peer = Peer(wire, client=False, settings=self.settings)
        self.peers.append(peer)
        peer.on_event = lambda stream, event: self._on_event(peer, stream, event)
        with suppress(Closed):
            while True:
                peer.turn()

    def _on_event(self, peer: Peer, stream: Exchanged, event: object) -> None:
        if isinstance(event, RequestReceived):
            stream.peer = peer
            self.asked.append(stream)
        if self.early is not None:
            self.early(peer, stream, event)
        elif isinstance(event, StreamEnded):
            self.handler(peer, stream)


class RawFrame(NamedTuple):
    """One frame as it is on the wire."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of GOAWAY or RST_STREAM."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload, "big")


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
USUAL = ((":method", "GET"), (":scheme", "https"), (":authority", "api.mock.test"), (":path", "/"))


def raw(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame, right or wrong."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def setting(name: int, value: int) -> bytes:
    """One parameter of a SETTINGS frame."""
    return struct.pack(">HI", name, value)


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """A header block, whatever stands in it."""
    return hpack.Encoder().encode([(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields], huffman=False)


def head(stream: int, fields: Iterable[tuple[str, str]] = USUAL, *, end: bool = True) -> bytes:
    """HEADERS in one frame."""
    return raw(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(fields))


class Raw:
    """One end that sends what it likes, and gets frames as they are. A client sends its preface and SETTINGS."""

    def __init__(self, wire: Wire, settings: bytes = b"", *, client: bool = True) -> None:
        self.wire = wire
        self.frames: list[RawFrame] = []
        self._decoder = hpack.Decoder()
        if client:
            self.send(PREFACE + raw(SETTINGS, payload=settings))
        else:
            wire.exactly(len(PREFACE))
            self.send(raw(SETTINGS, payload=settings))

    def send(self, *frames: bytes) -> None:
        self.wire.send(b"".join(frames))

    def read(self) -> RawFrame:
        """The next frame. Raises Closed."""
        top = self.wire.exactly(9)
        size = int.from_bytes(top[:3], "big")
        frame = RawFrame(top[3], top[4], int.from_bytes(top[5:], "big"), self.wire.exactly(size))
        self.frames.append(frame)
        if frame.kind == SETTINGS and not frame.flags & ACK:
            with suppress(OSError):
                self.send(raw(SETTINGS, ACK))
        return frame

    def until(self, kind: int, stream: int | None = None) -> RawFrame:
        """The next frame of a kind."""
        while True:
            frame = self.read()
            if frame.kind == kind and (stream is None or frame.stream == stream):
                return frame

    def fields(self, frame: RawFrame) -> dict[str, str]:
        """Those of a HEADERS frame; every one that comes has to be given here."""
        return dict(self._decoder.decode(frame.payload))

    def status(self, stream: int = 1) -> str:
        """That of an answer."""
        return self.fields(self.until(HEADERS, stream))[":status"]

    def end(self) -> int | None:
        """The code with which the connection is closed."""
        with suppress(Closed):
            while True:
                self.read()
        return next((frame.code for frame in self.frames if frame.kind == GOAWAY), None)


def raw_client(world: World, settings: bytes = b"", *, token: str | None = None) -> Raw:
    """A client that is no good."""
    return Raw(open_http2(world, token=token), settings)


def raw_server(world: World, serve: Callable[[Raw], None], settings: bytes = b"") -> None:
    """An upstream that is no good."""
    context = world.upstream._context
    assert context is not None
    context.set_alpn_protocols(["h2"])

    def run(wire: Wire) -> None:
        with suppress(Closed):
            serve(Raw(wire, settings, client=False))

    world.upstream.raw = run


def open_http2(
    world: World,
    *,
    token: str | None = None,
    protocols: tuple[str, ...] = ("h2",),
    name: str | None = "api.mock.test",
) -> Wire:
    """TLS through the proxy, with these protocols offered."""
    wire, answer = world.connect(token=token)
    assert answer.status == 200, answer
    return secure(world, wire, name, protocols)


def secure(world: World, wire: Wire, name: str | None, protocols: tuple[str, ...] = ("h2",)) -> Wire:
    """TLS on a connection that the proxy has opened."""
    wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = world.client_context()
    context.set_alpn_protocols(list(protocols))
    context.check_hostname = name is not None
    context.sslsocket_class = SharedTls
    return Wire(context.wrap_socket(wire.sock, server_hostname=name, suppress_ragged_eofs=False))


def chosen(wire: Wire) -> str | None:
    assert isinstance(wire.sock, ssl.SSLSocket)
    return wire.sock.selected_alpn_protocol()


def client(world: World, *, token: str | None = None) -> Peer:
    """A client that speaks nothing but HTTP/2."""
    return Peer(open_http2(world, token=token), client=True)
