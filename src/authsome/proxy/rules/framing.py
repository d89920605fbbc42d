"""What frames a message (RFC 9112 §6, §9): the length of its body, and whether the connection outlives it.

llhttp has refused the malformed by the time this is asked; here goes what is well formed and still
could be read in two ways.
"""

from enum import Enum
from typing import NamedTuple

from authsome.proxy.rules.head import BadMessage, RequestHead, ResponseHead

_LONGEST_BODY = 2**63


class Unmeasured(Enum):
    """How a body without a known length ends."""

    CHUNKED = "chunked"
    UNTIL_CLOSE = "until_close"


Length = int | Unmeasured

# Fields that belong to one connection, never to the message (RFC 9110 §7.6.1), and the framing itself.
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
        b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip
# Of an answer, what belongs to the server's connection, leads a client past the proxy (X25), or is ours to say.
NOT_ANSWERED = HOP_BY_HOP | {b"alt-svc", b"x-authsome-error"}
_SPECIAL = NOT_ANSWERED | {b"content-length"}
_NO_NAMES: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive"})


class RequestFraming(NamedTuple):
    """`host` is the Host field, "" where HTTP/1.0 sent none; `named` are the fields that Connection names.

    `websocket` tells that the client asks to change to that protocol; no other change is offered upstream.
    """

    length: Length
    sized: bool
    keep_alive: bool
    expects: bool
    websocket: bool
    host: str
    named: frozenset[bytes]


class ResponseFraming(NamedTuple):
    """As for a request; `verbatim` tells that every field of the head is true of the client's connection too."""

    length: Length
    keep_alive: bool
    named: frozenset[bytes]
    verbatim: bool


def frame_request(head: RequestHead) -> RequestFraming:
    """The framing of a request. Raises BadMessage."""
    host, length, sized, chunked, expects = "", 0, False, False, False
    connection, upgrade = b"", b""
    hosts = 0
    for name, _, value in head.fields:
        if name == b"host":
            hosts += 1
            host = value.decode("latin-1")
        elif name == b"content-length":
            length, sized = content_length(value, sized, 400), True
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked" or not head.http11:
                raise BadMessage("only one transfer coding, chunked, is understood", 400)
            chunked = True
        elif name == b"connection":
            connection += b"," + value
        elif name == b"upgrade":
            upgrade += b"," + value
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadMessage("this expectation is not understood", 417)
            expects = head.http11
    if hosts > 1 or (not hosts and head.http11):
        raise BadMessage("a request needs exactly one Host header")
    if chunked and sized:
        raise BadMessage("Content-Length and Transfer-Encoding exclude each other")
    named = _tokens(connection) if connection else _NO_NAMES
    keep = b"close" not in named if head.http11 else b"keep-alive" in named
    websocket = b"upgrade" in named and b"websocket" in _tokens(upgrade) and head.http11 and not chunked and not length
    if not host and hosts:
        raise BadMessage("the Host header is empty")
    return RequestFraming(
        Unmeasured.CHUNKED if chunked else length, sized, keep, expects, websocket, host, named
    )  # fmt: skip


def frame_response(head: ResponseHead, method: str) -> ResponseFraming:
    """The framing of the final response to `method` (RFC 9112 §6.3). Raises BadMessage (502)."""
    length, sized, chunked, verbatim = 0, False, False, head.http11
    connection = b""
    for name, _, value in head.fields:
        if name not in _SPECIAL:
            continue
        if name == b"content-length":
            length, sized = content_length(value, sized, 502), True
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked" or not head.http11:
                raise BadMessage("the server used a transfer coding that is not understood", 502)
            chunked = True
        elif name == b"connection":
            connection += b"," + value
        else:
            verbatim = False
    if chunked and sized:
        raise BadMessage("the server sent Content-Length and Transfer-Encoding at once", 502)
    named = _tokens(connection) if connection else _NO_NAMES
    keep = b"close" not in named if head.http11 else b"keep-alive" in named
    verbatim = verbatim and (not named or named == _KEEP_ALIVE)
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return ResponseFraming(0, keep, named, verbatim and not chunked)
    if chunked:
        return ResponseFraming(Unmeasured.CHUNKED, keep, named, verbatim)
    if sized:
        return ResponseFraming(length, keep, named, verbatim)
    return ResponseFraming(Unmeasured.UNTIL_CLOSE, False, named, False)


def content_length(value: bytes, seen: bool, status: int) -> int:
    """The number of a Content-Length field, the only one of its message. Raises BadMessage with this status."""
    if seen or not value.isdigit() or len(value) > 19 or int(value) >= _LONGEST_BODY:
        raise BadMessage("Content-Length is not one number", status)
    return int(value)


def _tokens(value: bytes) -> frozenset[bytes]:
    if value == b",keep-alive":
        return _KEEP_ALIVE
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) - {b""}
