"""Reading the head of an HTTP/1.1 message: syntax alone, by llhttp, and what it lets pass that must not."""

import re
from typing import NamedTuple

import httptools

# A field as (name in lower case, name as sent, value without outer blanks).
Field = tuple[bytes, bytes, bytes]

LONGEST_HEAD = 65536
LONGEST_REQUEST_LINE = 16384
MOST_FIELDS = 256

METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
_REQUEST_LINE = re.compile(rb"(" + METHOD.pattern + rb") ([!-~]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(rb"[!-~]+ +[!-~]+ HTTP/[0-9.]+\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")


class BadMessage(ValueError):
    """A message that is refused for its form; `status` is the answer a client gets (RFC 9112 §2.2, RFC 6585 §5)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class RequestHead(NamedTuple):
    """A request line and its fields. `text` is all of it as it came."""

    method: str
    target: str
    http11: bool
    fields: list[Field]
    text: bytes


class ResponseHead(NamedTuple):
    """A status line and its fields. `text` is all of it as it came."""

    status: int
    reason: bytes
    http11: bool
    fields: list[Field]
    text: bytes


class RequestReader:
    """Reads the request heads of one connection. Many repeat the one before, or its fields, so these are kept."""

    __slots__ = ("_block", "_fields", "_head")

    def __init__(self) -> None:
        self._block = b""
        self._fields: list[Field] = []
        self._head: RequestHead | None = None

    def read(self, text: bytes) -> RequestHead:
        """A whole request head, from its first letter through the empty line. Raises BadMessage."""
        if self._head is not None and self._head.text == text:
            return self._head
        line = _REQUEST_LINE.match(text)
        if line is None:
            raise _bad_request_line(text)
        end = line.end()
        if end > LONGEST_REQUEST_LINE:
            raise BadMessage("the request line is longer than 16 KiB", 414)
        block = text[end:]
        if block != self._block:
            self._fields = read_fields(block)
            self._block = block
        method, target, minor = line.groups()
        self._head = RequestHead(method.decode(), target.decode(), minor == b"1", self._fields, text)
        return self._head


class ResponseReader:
    """Reads the response heads of one connection; the last one is kept, because many servers repeat themselves."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head: ResponseHead | None = None

    def read(self, text: bytes) -> ResponseHead:
        """A whole response head. Raises BadMessage."""
        if self._head is None or self._head.text != text:
            self._head = read_response(text)
        return self._head


def read_response(text: bytes) -> ResponseHead:
    """A whole response head. Raises BadMessage."""
    line = _STATUS_LINE.match(text)
    if line is None:
        raise BadMessage("the status line is malformed", 502)
    fields = read_fields(text[line.end() :])
    return ResponseHead(int(line[2]), line[3] or b"", line[1] == b"1", fields, text)


def read_fields(block: bytes) -> list[Field]:
    """The fields of a block that ends with an empty line. Raises BadMessage."""
    reader = _Reader()
    try:
        # llhttp knows a closed list of methods, so it gets one that it knows
        httptools.HttpRequestParser(reader).feed_data(b"GET / HTTP/1.1\r\n" + block)
    except httptools.HttpParserUpgrade:
        pass  # an Upgrade field; what it means is decided elsewhere
    except httptools.HttpParserError as error:
        raise BadMessage(f"malformed header: {str(error).lower()}") from None
    if not reader.complete:
        raise BadMessage("malformed header: it does not end")
    if len(reader.fields) > MOST_FIELDS:
        raise BadMessage(f"more than {MOST_FIELDS} header fields", 431)
    return reader.fields


class _Reader:
    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def _bad_request_line(text: bytes) -> BadMessage:
    end = text.find(b"\r\n")
    if end < 0 or end > LONGEST_REQUEST_LINE:
        return BadMessage("the request line is longer than 16 KiB", 414)
    if _OTHER_VERSION.match(text) and not re.match(rb"[!-~]+ +[!-~]+ HTTP/1\.[01]\r\n", text):
        return BadMessage("this version of HTTP is not spoken here", 505)
    return BadMessage("the request line is malformed")
