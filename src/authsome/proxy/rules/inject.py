"""Writing the head that goes upstream: the child's fields without what is ours, then the credential."""

import base64
import re
from typing import NamedTuple, Protocol, assert_never
from urllib.parse import quote

from authsome.model.authority import Authority
from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    PathInjection,
    QueryInjection,
)
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import CHOICE_HEADER, GAP, Inject, Request, split_query
from authsome.proxy.rules.framing import HOP_BY_HOP, RequestFraming, Unmeasured
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.hpack import block_of, secret_block_of
from authsome.proxy.rules.stream import StreamRequest
from authsome.proxy.rules.target import Target

# Written anew from the framing, or meant for the proxy alone.
_NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length", b"expect", CHOICE_HEADER}
_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_IN_SEGMENT = "!$&'()*+,;=:@"
_LENGTH = frozenset({b"content-length"})
_NO_PLACES: frozenset[bytes] = frozenset()
# How an answer is coded is ours to say, where it is searched.
_CODINGS = frozenset({b"accept-encoding", b"grpc-accept-encoding"})
_UNCODED = b"Accept-Encoding: identity\r\n"
# Of an HTTP/2 request: content-length and te belong to the message, as long as its body is not changed.
_NOT_STREAMED = (HOP_BY_HOP - {b"te"}) | {b"host", b"expect", CHOICE_HEADER}


class BadCredential(ValueError):
    """A stored value that cannot stand in a request (X38)."""


SecretInjection = HeaderInjection | BasicInjection | QueryInjection | PathInjection


class Outline(Protocol):
    """A head with a gap for the credential; it holds no secret, and serves as often as the request is repeated."""

    @property
    def injections(self) -> tuple[SecretInjection, ...]:
        """How the credential is put in."""
        ...

    def complete(self, credential: Secret) -> bytes:
        """The head with the credential in it. Raises BadCredential."""
        ...


class LinesOutline(NamedTuple):
    """An `Outline` of HTTP/1.1.

    `target` lacks the query parameters that a credential replaces, `start` is the method, `fields` come before
    the credential and `end` after it.
    """

    start: bytes
    target: Target
    fields: bytes
    end: bytes
    injections: tuple[SecretInjection, ...]

    def complete(self, credential: Secret) -> bytes:
        """As `Outline.complete`."""
        target, ours = _injected(self.injections, self.target, credential)
        lines = b"".join([b"%b: %b\r\n" % each for each in ours])
        return _request_line(self.start, target) + self.fields + lines + self.end


class BlockOutline(NamedTuple):
    """An `Outline` of HTTP/2: blocks for what comes before `:path`, and for what comes after it."""

    start: bytes
    target: Target
    fields: bytes
    injections: tuple[SecretInjection, ...]

    def complete(self, credential: Secret) -> bytes:
        """As `Outline.complete`."""
        target, ours = _injected(self.injections, self.target, credential)
        named = secret_block_of([(name.lower(), value) for name, value in ours])
        return self.start + _path_block(target, secret=target is not self.target) + self.fields + named


def plain_head(request: Request, framing: RequestFraming, host: bytes, *, searched: bool = False) -> bytes:
    """The head of a request that gets no credential. `host` is the value of the Host field.

    Where its answer is `searched` all the same, for new tokens, it is asked for in no coding.
    """
    fields = _forwarded(request.fields, _CODINGS if searched else _NO_PLACES, framing.named)
    start = _request_line(request.method.encode(), request.target) + b"Host: " + host + b"\r\n"
    return start + _lines(fields) + (_UNCODED if searched else b"") + _end(framing)


def plain_block(request: Request, head: StreamRequest, *, searched: bool = False) -> bytes:
    """The block of a request that gets no credential; as `plain_head`."""
    fields = [f[1:] for f in _streamed(request.fields, _CODINGS if searched else _NO_PLACES)]
    if searched:
        fields.append((b"accept-encoding", b"identity"))
    return _pseudo_block(request, head) + _path_block(request.target) + block_of(fields)


def outline(request: Request, framing: RequestFraming, decision: Inject, *, held: bool = False) -> LinesOutline:
    """All of the head but the credential. Raises BadCredential for a fixed header that cannot be sent.

    The answer is asked for in no coding, because it is searched for the credential (P6). Where the body is `held`
    until it is complete, its length is written with it: see `with_length`.
    """
    if held:
        framing = framing._replace(length=0, sized=False, expects=False)
    fields = _forwarded(request.fields, decision.places.headers | _CODINGS, framing.named)
    return LinesOutline(
        request.method.encode(),
        _without_credential(request, decision),
        b"Host: " + host_field(request.authority) + b"\r\n" + _lines(fields) + _UNCODED,
        _lines(_fixed(fields, decision)) + _end(framing),
        _secret(decision),
    )


def block_outline(request: Request, head: StreamRequest, decision: Inject, *, held: bool = False) -> BlockOutline:
    """As `outline`; messages of gRPC have a coding of their own, which is not asked for either."""
    fields = _streamed(request.fields, decision.places.headers | _CODINGS | (_LENGTH if held else _NO_PLACES))
    sent = [f[1:] for f in fields] + [(f[1].lower(), f[2]) for f in _fixed(fields, decision)]
    sent.append((b"accept-encoding", b"identity"))
    if any(name == b"grpc-accept-encoding" for name, _, _ in request.fields):
        sent.append((b"grpc-accept-encoding", b"identity"))
    return BlockOutline(
        _pseudo_block(request, head), _without_credential(request, decision), block_of(sent), _secret(decision)
    )


def with_length(head: bytes, length: int) -> bytes:
    """A head of HTTP/1.1 whose body was held, with the length of it."""
    return head[:-2] + b"Content-Length: %d\r\n\r\n" % length


def block_with_length(block: bytes, length: int) -> bytes:
    """The same for HTTP/2."""
    return block + block_of([(b"content-length", b"%d" % length)])


def _without_credential(request: Request, decision: Inject) -> Target:
    target = Target(decision.path, request.target.query)
    if decision.places.parameters and target.query:
        return Target(target.path, split_query(target.query, decision.places.parameters)[0])
    return target


def _fixed(fields: list[Field], decision: Inject) -> list[Field]:
    """The headers without a secret that go with the credential, but for those that the child sends itself."""
    sent = {field[0] for field in fields}
    return [
        (each.name.lower().encode(), each.name.encode(), _checked(each.value))
        for each in decision.lendable.injections
        if isinstance(each, FixedHeader) and each.name.lower().encode() not in sent
    ]


def _secret(decision: Inject) -> tuple[SecretInjection, ...]:
    return tuple(each for each in decision.lendable.injections if not isinstance(each, FixedHeader | BodyInjection))


def _injected(
    injections: tuple[SecretInjection, ...], target: Target, credential: Secret
) -> tuple[Target, list[tuple[bytes, bytes]]]:
    """The target and the fields with the credential: the only place where a secret becomes bytes."""
    fields: list[tuple[bytes, bytes]] = []
    for injection in injections:
        match injection:
            case HeaderInjection(name=name, prefix=prefix):
                value = _checked(credential.reveal())
                fields.append((name.encode(), _checked(prefix) + b" " + value if prefix else value))
            case BasicInjection():
                fields.append((b"Authorization", _basic(injection, credential)))
            case QueryInjection(parameter=parameter):
                part = f"{quote(parameter, safe='')}={quote(credential.reveal(), safe='')}"
                target = Target(target.path, f"{target.query}&{part}" if target.query else f"?{part}")
            case PathInjection():
                target = Target(target.path.replace(GAP, in_segment(credential.reveal())), target.query)
            case _:
                assert_never(injection)
    return target, fields


def in_segment(value: str) -> str:
    """A value as it stands in a segment of a path (RFC 3986 §3.3)."""
    return quote(value, safe=_IN_SEGMENT)


def host_field(authority: Authority, default_port: int = 443) -> bytes:
    """The value of the Host field for a destination."""
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    return (host if authority.port == default_port else f"{host}:{authority.port}").encode()


def _forwarded(fields: list[Field], replaced: frozenset[bytes], named: frozenset[bytes]) -> list[Field]:
    """What the child sent, without the fields of its connection and without those that ours replace."""
    return [f for f in fields if f[0] not in _NOT_FORWARDED and f[0] not in replaced and f[0] not in named]


def _streamed(fields: list[Field], replaced: frozenset[bytes]) -> list[Field]:
    """The same for HTTP/2, whose framing is not in its fields."""
    return [f for f in fields if f[0] not in _NOT_STREAMED and f[0] not in replaced]


def _pseudo_block(request: Request, head: StreamRequest) -> bytes:
    fields = [(b":method", request.method.encode()), (b":scheme", b"https")]
    fields.append((b":authority", host_field(request.authority)))
    if head.protocol:
        fields.append((b":protocol", head.protocol.encode()))
    return block_of(fields)


def _path_block(target: Target, *, secret: bool = False) -> bytes:
    field = (b":path", (target.path + target.query).encode())
    return secret_block_of([field]) if secret else block_of([field])


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
