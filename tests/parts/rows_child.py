"""A program for inside a run: does on the wire what a line of JSON tells it, and answers with what came back.

Bytes go as latin-1 text. `{auth}` in a text becomes the Proxy-Authorization field that the run's environment implies.
"""

import base64
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, BinaryIO
from urllib.parse import urlsplit

SECONDS = 30.0
PROXY = urlsplit(os.environ["HTTPS_PROXY"])
AUTH = "Proxy-Authorization: Basic " + base64.b64encode(f"{PROXY.username}:{PROXY.password}".encode()).decode() + "\r\n"

Kept = tuple[ssl.SSLSocket, BinaryIO, bytes]  # a connection, what is read from it, the certificate at its other end
KEPT: dict[str, Kept] = {}
PLAIN: dict[str, socket.socket] = {}


def dial() -> socket.socket:
    """A connection to the proxy."""
    return socket.create_connection(("127.0.0.1", PROXY.port or 0), timeout=SECONDS)


def filled(text: str) -> bytes:
    """A text as it is sent."""
    return text.replace("{auth}", AUTH).encode("latin-1")


def read(file: BinaryIO, method: str = "GET") -> dict[str, Any]:
    """One answer; its status is 0 where the connection was closed instead."""
    start = file.readline().split()
    fields = []
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.lower(), value.strip()))
    if len(start) < 2:
        return {"status": 0, "fields": fields, "body": ""}
    known, status = dict(fields), int(start[1])
    body = b""
    if method == "HEAD" or status in (204, 304) or (method == "CONNECT" and status == 200):
        pass
    elif known.get("transfer-encoding") == "chunked":
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
    elif "content-length" in known:
        body = file.read(int(known["content-length"]))
    else:
        body = file.read()
    return {"status": status, "fields": fields, "body": body.decode("latin-1")}


def raw(text: str, on: str) -> dict[str, Any]:
    """Anything, said to the proxy itself, on a connection that is kept under the name `on`."""
    sock = PLAIN.pop(on, None) or dial()
    try:
        sock.sendall(filled(text))
        answer = read(sock.makefile("rb"), text.split(" ")[0])
    except OSError:
        answer = {"status": 0, "fields": [], "body": ""}
    if on:
        PLAIN[on] = sock
    else:
        sock.close()
    return answer


def ask(host: str, port: int, texts: list[str], on: str, strict: bool, direct: bool) -> dict[str, Any]:
    """Requests on one connection to a host, which is kept under the name `on`; `direct` goes past the proxy."""
    if on not in KEPT:
        sock = dial() if not direct else socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        if not direct:
            sock.sendall(filled(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{{auth}}\r\n"))
            connected = read(sock.makefile("rb"), "CONNECT")
            if connected["status"] != 200:
                return {"answers": [connected], "certificate": ""}
        context = ssl.create_default_context()
        if strict:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        secured = context.wrap_socket(sock, server_hostname=host)
        KEPT[on] = secured, secured.makefile("rb"), secured.getpeercert(True) or b""
    secured, file, certificate = KEPT[on]
    answers = []
    for text in texts:
        try:
            secured.sendall(filled(text))
            answers.append(read(file, text.split(" ")[0]))
        except OSError:
            answers.append({"status": 0, "fields": [], "body": ""})
    if not on:
        KEPT.pop(on)[0].close()
    return {"answers": answers, "certificate": certificate.decode("latin-1")}


WORKS: dict[str, Callable[..., dict[str, Any]]] = {"raw": raw, "ask": ask}


def main() -> None:
    """Until the end of the input."""
    print(json.dumps(dict(os.environ)), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        print(json.dumps(WORKS[told.pop("do")](**told)), flush=True)


if __name__ == "__main__":
    main()
