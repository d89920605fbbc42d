"""Attempts to reach what nobody allowed: services of this machine, hosts, names, the wire itself."""

import socket

from .trying import AIMS, attempt, connect, greeted, proxy, secured, tunnel


@attempt("a service on this machine, by TCP")
def _() -> object:
    return greeted(connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", AIMS["tcp"])))


@attempt("the same by MPTCP")
def _() -> object:
    return greeted(connect(socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", AIMS["tcp"])))


@attempt("the same by a Unix socket without a path")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, "\0" + AIMS["abstract"]))


@attempt("a service on this machine, by UDP")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_DGRAM, 0, ("127.0.0.1", AIMS["udp"]))
    sock.send(b"?")
    return greeted(sock)


@attempt("the daemon's pages")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", AIMS["port"]))
    sock.sendall(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{AIMS['port']}\r\n\r\n".encode())
    return sock.recv(64).startswith(b"HTTP/1.1 200")


@attempt("a host on the internet, by its address")
def _() -> object:
    return secured(connect(socket.AF_INET, socket.SOCK_STREAM, 0, (AIMS["address"], 443)), AIMS["evil"])


@attempt("a host on the internet, by IPv6")
def _() -> object:
    return connect(socket.AF_INET6, socket.SOCK_STREAM, 0, ("2001:db8::1", 443))


@attempt("a host that nobody allowed, by its name")
def _() -> object:
    return secured(socket.create_connection((AIMS["evil"], 443), 5), AIMS["evil"])


@attempt("the same in clear text")
def _() -> object:
    sock = socket.create_connection((AIMS["evil"], 80), 5)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {AIMS['evil']}\r\n\r\n".encode())
    return b" 403 " not in sock.recv(64)


@attempt("the same through the proxy")
def _() -> object:
    return secured(tunnel(AIMS["evil"], 443), AIMS["evil"])


@attempt("the same with the token of another run")
def _() -> object:
    return secured(tunnel(AIMS["evil"], 443, AIMS["other_proxy"]), AIMS["evil"])


@attempt("the same by its name inside a connection to an allowed host")
def _() -> object:
    return secured(tunnel(AIMS["allowed"], 443), AIMS["evil"])


@attempt("a name of an allowed host that leads to this machine")
def _() -> object:
    return greeted(tunnel(AIMS["rebinding"], AIMS["tcp"]))


@attempt("the same in clear text through the proxy")
def _() -> object:
    place, token = proxy(None)
    sock = socket.create_connection(place, 5)
    target = f"{AIMS['rebinding']}:{AIMS['tcp']}"
    head = f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {token}\r\n\r\n"
    sock.sendall(head.encode())
    answer = sock.recv(512)
    return b"destination_refused" not in answer and b" 403 " not in answer


@attempt("names that are looked up elsewhere")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_DGRAM, 0, (AIMS["address"], 53))
    return sock.send(b"\1\2\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1")


@attempt("packets made by hand")
def _() -> object:
    return connect(socket.AF_INET, socket.SOCK_RAW, 255, ("127.0.0.1", 0))


@attempt("frames made by hand")
def _() -> object:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


@attempt("the host of a virtual machine, by a socket for that")
def _() -> object:
    return socket.socket(40, socket.SOCK_STREAM)
