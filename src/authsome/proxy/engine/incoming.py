"""One HTTP/1.1 connection that a client opened: requests cut out of the bytes, one at a time, and answers written."""

import asyncio
import re
from dataclasses import replace
from enum import Enum
from typing import cast

from authsome.proxy.engine.core import Core
from authsome.proxy.engine.exchange import Exchange
from authsome.proxy.engine.ports import Limits
from authsome.proxy.engine.refusals import HEAD_TOO_SLOW, NO_SHARE, TOO_SLOW, Refusal, bad_request, broken
from authsome.proxy.engine.runs import Member
from authsome.proxy.engine.tls import TlsLayer
from authsome.proxy.rules.body import Body, ChunkedBody, body_of
from authsome.proxy.rules.framing import RequestFraming, frame_request
from authsome.proxy.rules.head import LONGEST_HEAD, LONGEST_REQUEST_LINE, BadMessage, Field, RequestHead, RequestReader

_DISCARDED = 1048576  # of the body of a refused request, before the connection is given up
_MOST_BLANK_LINES = 8
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Phase(Enum):
    """What is expected of the client next."""

    HEAD = "a request"
    BODY = "the rest of a request"
    ANSWER = "nothing, until its answer is complete"
    CLOSING = "nothing"


HEAD, BODY, ANSWER, CLOSING = Phase


class Incoming(asyncio.Protocol):
    """See the module. A subclass opens the exchange for a request, or refuses it."""

    def __init__(self, core: Core, member: Member | None) -> None:
        self.core = core
        self.limits: Limits = core.limits
        self.exchange: Exchange | None = None
        self._member = member
        self._transport: asyncio.Transport | None = None
        self._phase = Phase.HEAD
        self._buffer = b""
        self._body: Body | None = None
        self._unread = 0  # bytes that wait for the client to read
        self._choked = self._held = self._full = self._eof = self._in_head = self._advancing = self._expects = False
        self._method = ""
        self._reader = RequestReader()
        self._framed: tuple[list[Field], bool, RequestFraming] | None = None
        self._keep = True
        self._discarded = self._scanned = 0
        self.dropped_trailers: frozenset[bytes] = frozenset()  # beyond those that never pass

    # for a subclass

    def open(self, head: RequestHead, framing: RequestFraming) -> Exchange | Refusal | None:
        """The exchange for a request, its refusal, or None if the connection was handed over.

        Raises BadMessage.
        """
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> None:
        """Told of each refusal."""

    @property
    def member(self) -> Member:
        """The client connection this is spoken on."""
        assert self._member is not None
        return self._member

    @property
    def transport(self) -> asyncio.Transport:
        """Where answers are written."""
        assert self._transport is not None
        return self._transport

    # from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self.limits.buffer)
        if self._member is None:
            self._member = Member(self.core.clock, self._transport)
        self.member.expire = self._expire
        # a stranger has as long as for a head, a run's connection may rest
        self.member.within(self.limits.head_time if self.member.live is None else self.limits.idle)

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()
        elif phase is BODY:
            self._take_body(data)
        elif phase is ANSWER:
            self._buffer += data
            if len(self._buffer) > self.limits.held_back and not self._held:
                self._held = True
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client may only have closed its half: an answer under way is still delivered."""
        self._eof = True
        if self._phase is ANSWER:
            return True
        self._abandon()
        self._phase = CLOSING
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = CLOSING
        self._abandon()
        if self._member is not None:
            self._member.gone()

    def pause_writing(self) -> None:
        self._choked = True
        self._unread = self.transport.get_write_buffer_size()
        if not self.member.keep(self._unread):
            self._unread = 0
            self.refused(NO_SHARE)
            self.member.transport.abort()
        if self.exchange is not None:
            self.exchange.client_full(True)

    def resume_writing(self) -> None:
        self._choked = False
        self.member.let_go(self._unread)
        if self.exchange is not None:
            self.exchange.client_full(False)
        else:
            self._advance()

    # from the exchange

    def answer(self, data: bytes) -> None:
        """More of the answer."""
        self.member.deadline = self.core.clock.now + self.limits.silence
        self.transport.write(data)

    def hold(self, hold: bool) -> None:
        """The server does not keep up with the request's body, or does again."""
        self._full = hold
        if hold:
            self.transport.pause_reading()
        elif not self._held:
            self.transport.resume_reading()

    def finished(self, keep: bool) -> None:
        """The answer is complete."""
        self._detach()
        if self._phase is BODY:
            self._linger()
        elif self._phase is CLOSING:
            pass
        elif not keep or (self._eof and not self._buffer):
            self._close()
        else:
            self._next()
            self._advance()

    def cut(self) -> None:
        """The answer ends before its time; the client must be able to tell."""
        self._detach()
        self._phase = CLOSING
        self.member.transport.close()  # below TLS, so without the close_notify of a good end

    def fail(self, refusal: Refusal) -> None:
        """There will be no answer but this."""
        self._detach()
        self._refuse(refusal)
        self._advance()

    def release(self) -> tuple[asyncio.Transport, bytes]:
        """Give up the connection for a relay: the transport, and what the client has sent ahead."""
        self.exchange = None
        self._phase = CLOSING
        rest, self._buffer = self._buffer, b""
        return self.transport, rest

    def _detach(self) -> Exchange | None:
        """No exchange any more, and so nobody to wait for."""
        exchange, self.exchange = self.exchange, None
        if self._full:
            self.hold(False)
        return exchange

    # cutting requests out

    def _advance(self) -> None:
        """Take what is complete. A loop and not a recursion, because refused requests may follow each other."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._phase is HEAD and self._buffer and not self._choked and self._take_next():
                pass
        finally:
            self._advancing = False

    def _take_next(self) -> bool:
        """Take one request; false if it is not all there."""
        data = self._buffer
        if data[0] in b"\r\n":
            data = self._skip_blank_lines(data)
            if not data:
                return False
        end = data.find(b"\r\n\r\n", self._scanned, LONGEST_HEAD + 4)
        if end < 0:
            self._wait_for_head(data)
            return False
        self._in_head, self._scanned = False, 0
        self._buffer = b""
        self._take_request(data[: end + 4], data[end + 4 :])
        return True

    def _skip_blank_lines(self, data: bytes) -> bytes:
        """RFC 9112 §2.2 asks for some patience with them."""
        rest = data.lstrip(b"\r\n")
        blank = data[: len(data) - len(rest)]
        if len(blank) > 2 * _MOST_BLANK_LINES or blank.replace(b"\r\n", b"") not in (b"", b"\r"):
            self._give_up(bad_request("the request begins with blank lines"))
            return b""
        self._buffer, self._scanned = rest or blank, 0
        return rest

    def _wait_for_head(self, data: bytes) -> None:
        if b"\r\n" not in data[: LONGEST_REQUEST_LINE + 2] and len(data) > LONGEST_REQUEST_LINE:
            self._give_up(bad_request("the request line is longer than 16 KiB", 414))
        elif len(data) > LONGEST_HEAD:
            self._give_up(bad_request("the header block is longer than 64 KiB", 431))
        elif _BARE_LF.search(data, self._scanned):
            self._give_up(bad_request("a line does not end with CRLF"))
        elif self._eof:
            self._close()
        else:
            self._scanned = max(0, len(data) - 3)
            if not self._in_head:
                self._in_head = True
                self.member.within(self.limits.head_time)

    def _take_request(self, text: bytes, rest: bytes) -> None:
        self._moved()
        self._method = "GET"
        try:
            head = self._reader.read(text)
            self._method = head.method
            framing = self._framing_of(head)
            self._keep, self._expects = framing.keep_alive, framing.expects
            if framing.length == 0:
                self._phase, self._buffer = ANSWER, rest
                opened = self.open(head, framing)
            else:
                self._phase, self._discarded = BODY, 0
                self.dropped_trailers = frozenset()
                opened = self.open(head, framing)
                held = isinstance(opened, Exchange) and opened.holds_body
                self._body = body_of(framing.length, decode=held, drop=self.dropped_trailers)
        except BadMessage as error:
            self._give_up(bad_request(str(error), error.status))
            return
        except Exception as error:  # noqa: BLE001 - whoever waits for an answer gets one (X75)
            self._give_up(broken(error))
            return
        if opened is None:
            return
        if isinstance(opened, Refusal):
            self._refuse(opened)
        else:
            self.exchange = opened
        if self._phase is BODY and rest:
            self._take_body(rest)
        if opened is self.exchange and isinstance(opened, Exchange):
            opened.start()

    def _moved(self) -> None:
        """The client has sent something, which gives no stranger more time."""
        member = self.member
        if member.live is not None:
            member.deadline = self.core.clock.now + self.limits.silence

    def _framing_of(self, head: RequestHead) -> RequestFraming:
        """The framing, which is the one before where the fields are."""
        if self._framed is None or self._framed[0] is not head.fields or self._framed[1] != head.http11:
            self._framed = head.fields, head.http11, frame_request(head)
        return self._framed[2]

    def _take_body(self, data: bytes) -> None:
        body, exchange = self._body, self.exchange
        assert body is not None
        self._moved()
        try:
            out, rest = body.feed(data)
            if rest is not None and isinstance(body, ChunkedBody) and body.trailers:
                self._check_trailers(body.trailers)
        except BadMessage as error:
            self._give_up(bad_request(str(error), error.status))
            return
        if exchange is None:
            self._discarded += len(data)
            if rest is None and self._discarded > _DISCARDED:
                self._linger()
                return
        elif out:
            exchange.send(out)
            exchange = self.exchange  # none, if that was too much
        if rest is None:
            return
        self._body, self._buffer = None, rest
        if exchange is None:
            self._next()
            self._advance()
        else:
            self._phase = ANSWER
            exchange.sent()

    def _check_trailers(self, trailers: list[Field]) -> None:
        """See `Core.carries_placeholder`. Raises BadMessage."""
        live = self.member.live
        if live is not None and self.core.carries_placeholder(live, trailers):
            raise BadMessage("a trailer carries a placeholder", 403)

    # ending

    def _next(self) -> None:
        self._phase = HEAD
        self.member.within(self.limits.idle)
        if self._held:
            self._held = False
            if not self._full:
                self.transport.resume_reading()

    def _give_up(self, refusal: Refusal) -> None:
        """Refuse what cannot be read; nothing after it is."""
        exchange = self._detach()
        if exchange is not None:
            exchange.abandon()
            if exchange.begun:
                self.cut()
                return
        self._refuse(replace(refusal, closes=True))

    def _refuse(self, refusal: Refusal) -> None:
        self.refused(refusal)
        unread = self._phase is BODY
        close = refusal.closes or not self._keep or self._eof or (unread and self._expects)
        self.transport.write(refusal.to_bytes(head_only=self._method == "HEAD", close=close))
        if close:
            self._linger()
        elif not unread:
            self._next()

    def _linger(self) -> None:
        """Say that this was all, and read on for a moment: closing at once could destroy what was written."""
        self._phase, self._body, self._buffer = CLOSING, None, b""
        self.member.within(self.limits.linger)
        transport = self.transport
        transport.resume_reading()
        if isinstance(transport, TlsLayer):
            transport.finish_writing()
        elif transport.can_write_eof():
            transport.write_eof()

    def _close(self) -> None:
        self._phase = CLOSING
        self.member.within(self.limits.silence)
        self.transport.close()

    def _abandon(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon()

    def _expire(self) -> None:
        if self._transport is None or self._phase is CLOSING:
            self.member.transport.abort()
        elif self._phase is HEAD and not self._buffer:
            self._close()
        elif self._phase is ANSWER:
            self._give_up(TOO_SLOW)
        else:
            self._give_up(HEAD_TOO_SLOW)
