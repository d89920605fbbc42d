"""Writing the head that goes upstream: the child's fields without what is ours, then the credential."""

import base64
import re
from typing import NamedTuple, assert_never
from urllib.parse import quote

from authsome.model.authority import Authority
from authsome.model.injection import BasicInjection, FixedHeader, HeaderInjection, QueryInjection
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import CHOICE_HEADER, Inject, Request, split_query
from authsome.proxy.rules.framing import HOP_BY_HOP, RequestFraming, Unmeasured
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.target import Target

# Written anew from the framing, or meant for the proxy alone.
_NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length", b"expect", CHOICE_HEADER}
_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_NO_PLACES: frozenset[bytes] = frozenset()
_ACCEPT_ENCODING = frozenset({b"accept-encoding"})


class BadCredential(ValueError):
    """A stored value that cannot stand in a request (X38)."""


class Outline(NamedTuple):
    """A head with a gap for the credential; it holds no secret, and serves as often as the request is repeated.

    `target` lacks the query parameters that a credential replaces, `start` is the method, `fields` come before
    the credential and `end` after it.
    """

    start: bytes
    target: Target
    fields: bytes
    end: bytes
    injections: tuple[HeaderInjection | BasicInjection | QueryInjection, ...]


def plain_head(request: Request, framing: RequestFraming, host: bytes) -> bytes:
    """The head of a request that gets no credential. `host` is the value of the Host field."""
    fields = _forwarded(request.fields, framing, _NO_PLACES)
    start = _request_line(request.method.encode(), request.target)
    return start + b"Host: " + host + b"\r\n" + _lines(fields) + _end(framing)


def outline(request: Request, framing: RequestFraming, decision: Inject) -> Outline:
    """All of the head but the credential. Raises BadCredential for a fixed header that cannot be sent.

    The answer is asked for in no coding, because it is searched for the credential (P6).
    """
    fields = _forwarded(request.fields, framing, decision.places.headers | _ACCEPT_ENCODING)
    target = request.target
    if decision.places.parameters and target.query:
        target = Target(target.path, split_query(target.query, decision.places.parameters)[0])
    sent = {field[0] for field in fields}
    fixed: list[Field] = []
    secret: list[HeaderInjection | BasicInjection | QueryInjection] = []
    for injection in decision.lendable.injections:
        if not isinstance(injection, FixedHeader):
            secret.append(injection)
        elif injection.name.lower().encode() not in sent:
            fixed.append((b"", injection.name.encode(), _checked(injection.value)))
    return Outline(
        request.method.encode(),
        target,
        b"Host: " + host_field(request.authority) + b"\r\n" + _lines(fields) + b"Accept-Encoding: identity\r\n",
        _lines(fixed) + _end(framing),
        tuple(secret),
    )


def complete(head: Outline, credential: Secret) -> bytes:
    """The head with the credential in it: the only place where a secret becomes bytes. Raises BadCredential."""
    target, ours = head.target, b""
    for injection in head.injections:
        match injection:
            case HeaderInjection(name=name, prefix=prefix):
                value = _checked(credential.reveal())
                ours += b"%b: %b\r\n" % (name.encode(), _checked(prefix) + b" " + value if prefix else value)
            case BasicInjection():
                ours += b"Authorization: " + _basic(injection, credential) + b"\r\n"
            case QueryInjection(parameter=parameter):
                part = f"{quote(parameter, safe='')}={quote(credential.reveal(), safe='')}"
                target = Target(target.path, f"{target.query}&{part}" if target.query else f"?{part}")
            case _:
                assert_never(injection)
    return _request_line(head.start, target) + head.fields + ours + head.end


def host_field(authority: Authority, default_port: int = 443) -> bytes:
    """The value of the Host field for a destination."""
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    return (host if authority.port == default_port else f"{host}:{authority.port}").encode()


def _forwarded(fields: list[Field], framing: RequestFraming, replaced: frozenset[bytes]) -> list[Field]:
    """What the child sent, without the fields of its connection and without those that ours replace."""
    named = framing.named
    return [f for f in fields if f[0] not in _NOT_FORWARDED and f[0] not in replaced and f[0] not in named]


def _request_line(method: bytes, target: Target) -> bytes:
    return b"%b %b HTTP/1.1\r\n" % (method, (target.path + target.query).encode())


def _lines(fields: list[Field]) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name, value) for _, name, value in fields])


def _end(framing: RequestFraming) -> bytes:
    """What belongs to the new connection: framing, and the wish to change the protocol."""
    end = b""
    if framing.length is Unmeasured.CHUNKED:
        end += b"Transfer-Encoding: chunked\r\n"
    elif framing.sized and isinstance(framing.length, int):
        end += b"Content-Length: %d\r\n" % framing.length
    if framing.expects:
        end += b"Expect: 100-continue\r\n"
    if framing.websocket:
        end += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return end + b"\r\n"


def _basic(injection: BasicInjection, credential: Secret) -> bytes:
    """RFC 7617: a name holds no colon, neither part a control character."""
    secret = credential.reveal()
    name, password = (secret, injection.other) if injection.secret_is == "username" else (injection.other, secret)
    if ":" in name or not (name + password).isprintable():
        raise BadCredential("the credential cannot be sent as a Basic one")
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def _checked(value: str) -> bytes:
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError:
        raise BadCredential("the credential holds a character that no header can carry") from None
    if _VALUE.fullmatch(encoded) is None:
        raise BadCredential("the credential holds a character that no header can carry")
    return encoded
