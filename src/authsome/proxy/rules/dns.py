"""The resolver of an isolated run: it reads one question and writes its answer (RFC 1035 §4), nothing else of DNS."""

import ipaddress
from dataclasses import dataclass
from enum import IntEnum

from authsome.model.authority import BadAuthority, normal_host

LIFE = 5  # seconds for which an answer may be kept
_A, _INTERNET = 1, 1
_ANSWERED = 0x8180  # a response, recursion asked for and available
_HEADER = 12


class Verdict(IntEnum):
    """What is said of a question (RFC 1035 §4.1.1)."""

    FOUND = 0
    MALFORMED = 1
    FAILED = 2
    NO_SUCH_NAME = 3
    NOT_DONE = 4


@dataclass(frozen=True, slots=True)
class Question:
    """`host` is normal, or "" where the name cannot be a host's; `text` is the question as it was asked."""

    number: bytes
    host: str
    wants_address: bool
    text: bytes


def read_question(message: bytes) -> Question | bytes | None:
    """The one question of a message, else what is answered to it, None where there is nothing to answer."""
    if len(message) < _HEADER or message[2] & 0x80:
        return None
    number = message[:2]
    if message[2] & 0x78:
        return _message(number, Verdict.NOT_DONE)
    labels, at = [], _HEADER
    if message[4:6] != b"\0\1":
        return _message(number, Verdict.MALFORMED)
    while at < len(message) and (size := message[at]):
        if size > 63:
            return _message(number, Verdict.MALFORMED)
        labels.append(message[at + 1 : at + 1 + size])
        at += 1 + size
    text = message[_HEADER : at + 5]
    if len(text) != at + 5 - _HEADER:
        return _message(number, Verdict.MALFORMED)
    kind, space = int.from_bytes(text[-4:-2]), int.from_bytes(text[-2:])
    try:
        host = normal_host(b".".join(labels).decode("ascii"))
    except (BadAuthority, UnicodeDecodeError):
        host = ""
    return Question(number, host if space == _INTERNET else "", kind == _A, text)


def answer(question: Question, verdict: Verdict, address: str = "") -> bytes:
    """What is answered; without an address it is that there are none of the kind that was asked for."""
    record = b""
    if address:
        packed = ipaddress.IPv4Address(address).packed
        parts = (b"\xc0\x0c", _A.to_bytes(2), _INTERNET.to_bytes(2), LIFE.to_bytes(4), len(packed).to_bytes(2), packed)
        record = b"".join(parts)
    return _message(question.number, verdict, question.text, record)


def _message(number: bytes, verdict: Verdict, question: bytes = b"", record: bytes = b"") -> bytes:
    flags = (_ANSWERED | verdict).to_bytes(2)
    counts = (bool(question), bool(record), 0, 0)
    return number + flags + b"".join(int(count).to_bytes(2) for count in counts) + question + record
