"""The heads of HTTP/2 messages (RFC 9113 §8): what a list of fields means, and what makes it malformed (X46 to X48)."""

import re
from typing import NamedTuple

from authsome.proxy.rules.body import NOT_IN_TRAILERS
from authsome.proxy.rules.framing import NOT_ANSWERED, content_length
from authsome.proxy.rules.head import LONGEST_HEAD, LONGEST_REQUEST_LINE, METHOD, MOST_FIELDS, BadMessage, Field

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")
_OF_A_REQUEST = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
# Fields of one connection; HTTP/2 has none (RFC 9113 §8.2.2).
_OF_A_CONNECTION = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings"}
)
_MOST_FAULTS_SHOWN = 40


class StreamRequest(NamedTuple):
    """The head of a request.

    `host` is its authority, `target` its path and query. `protocol` is that of an extended CONNECT (RFC 8441), "" for
    any other request. `length` is what the body is said to measure, `text` everything that the client wrote.
    """

    method: str
    host: str
    target: str
    protocol: str
    fields: list[Field]
    length: int | None
    expects: bool
    text: bytes


class StreamResponse(NamedTuple):
    """The head of a response."""

    status: int
    fields: list[Field]


def request_of(fields: list[Field]) -> StreamRequest:
    """A request's head. Raises BadMessage."""
    pseudo, rest = _split(fields, _OF_A_REQUEST, 400)
    method = pseudo.get(b":method", b"")
    if METHOD.fullmatch(method) is None:
        raise BadMessage("a request needs a method")
    protocol = pseudo.get(b":protocol", b"")
    if b":protocol" in pseudo and (method != b"CONNECT" or not protocol):
        raise BadMessage("only CONNECT names a protocol")
    path = pseudo.get(b":path", b"")
    if len(path) > LONGEST_REQUEST_LINE:
        raise BadMessage("the path is longer than 16 KiB", 414)
    if method != b"CONNECT" or protocol:
        if pseudo.get(b":scheme") != b"https":
            raise BadMessage("the scheme is not https")
        if not path.startswith(b"/"):
            raise BadMessage("the path does not start with a slash")
    host, length, expects = pseudo.get(b":authority", b""), None, False
    for name, _, value in rest:
        if name == b"host":
            if host and value.lower() != host.lower():
                raise BadMessage("Host and :authority differ")
            host = value
        elif name == b"content-length":
            length = content_length(value, length is not None, 400)
        elif name == b"te" and value.lower() != b"trailers":
            raise BadMessage("TE may only name trailers")
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadMessage("this expectation is not understood", 417)
            expects = True
    if not host:
        raise BadMessage("a request needs an authority")
    text = b"".join([b"%b: %b\r\n" % (name, value) for name, _, value in fields])
    return StreamRequest(
        method.decode(), host.decode("latin-1"), path.decode("latin-1"), protocol.decode("latin-1"), rest, length,
        expects, text,
    )  # fmt: skip


def response_of(fields: list[Field]) -> StreamResponse:
    """A response's head, without what is not answered. Raises BadMessage (502)."""
    pseudo, rest = _split(fields, frozenset({b":status"}), 502)
    status = pseudo.get(b":status", b"")
    if len(status) != 3 or not status.isdigit() or not b"1" <= status[:1] <= b"5" or status == b"101":
        raise BadMessage("the server answered without a status", 502)
    return StreamResponse(int(status), [field for field in rest if field[0] not in NOT_ANSWERED])


def trailers_of(fields: list[Field], drop: frozenset[bytes], status: int) -> list[Field]:
    """The trailers that pass (RFC 9110 §6.5.1). Raises BadMessage."""
    _, rest = _split(fields, frozenset(), status)
    return [field for field in rest if field[0] not in NOT_IN_TRAILERS and field[0] not in drop]


def _split(fields: list[Field], known: frozenset[bytes], status: int) -> tuple[dict[bytes, bytes], list[Field]]:
    """Pseudo-header fields, and the others. Raises BadMessage."""
    if len(fields) > MOST_FIELDS:
        raise BadMessage(f"more than {MOST_FIELDS} header fields", 431 if status == 400 else status)
    pseudo: dict[bytes, bytes] = {}
    rest: list[Field] = []
    size = 32 * len(fields)  # RFC 9113 §6.5.2
    for field in fields:
        name, _, value = field
        size += len(name) + len(value)
        if name[:1] == b":":
            if rest or name in pseudo or name not in known:
                raise BadMessage("a pseudo-header field is unknown, doubled or out of place", status)
            pseudo[name] = value
        elif _NAME.fullmatch(name) is None or name in _OF_A_CONNECTION:
            raise BadMessage(f"malformed header: {name[:_MOST_FAULTS_SHOWN]!r} is not a field of HTTP/2", status)
        else:
            rest.append(field)
        if _BAD_VALUE.search(value):
            raise BadMessage("malformed header: a value holds a character that none can carry", status)
    if size > LONGEST_HEAD:
        raise BadMessage("the header block is longer than 64 KiB", 431 if status == 400 else status)
    return pseudo, rest
