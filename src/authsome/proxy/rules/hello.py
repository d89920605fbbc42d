"""Reading the server name out of a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), without a part in the handshake."""

from enum import Enum


class Hello(Enum):
    """What the first bytes of a connection are, where they name no server."""

    INCOMPLETE = "incomplete"
    NOT_TLS = "not_tls"
    NAMELESS = "nameless"


_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME = 22, 1, 0
_LONGEST = 65536


def server_name(data: bytes) -> str | Hello:
    """The name that a client asks for in its first flight."""
    if not data:
        return Hello.INCOMPLETE
    if data[0] != _HANDSHAKE:
        return Hello.NOT_TLS
    message = _first_message(data)
    if message is None:
        return Hello.INCOMPLETE if len(data) < _LONGEST else Hello.NOT_TLS
    if message[:1] != bytes([_CLIENT_HELLO]):
        return Hello.NOT_TLS
    try:
        return _name_of(message)
    except (IndexError, UnicodeDecodeError):
        return Hello.NOT_TLS


def _first_message(data: bytes) -> bytes | None:
    """The handshake message that may lie across records, or None while it is not all there."""
    message, at = b"", 0
    while at + 5 <= len(data) and data[at] == _HANDSHAKE:
        size = int.from_bytes(data[at + 3 : at + 5])
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4]):
            return message[: 4 + int.from_bytes(message[1:4])]
    return None


def _name_of(message: bytes) -> str | Hello:
    at = 4 + 2 + 32  # header, version, random
    at += 1 + message[at]  # session id
    at += 2 + int.from_bytes(message[at : at + 2])  # cipher suites
    at += 1 + message[at]  # compression methods
    end = at + 2 + int.from_bytes(message[at : at + 2])
    at += 2
    while at + 4 <= min(end, len(message)):
        kind, size = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 2 : at + 4])
        if kind == _SERVER_NAME and message[at + 6] == 0:
            length = int.from_bytes(message[at + 7 : at + 9])
            return message[at + 9 : at + 9 + length].decode("ascii")
        at += 4 + size
    return Hello.NAMELESS
