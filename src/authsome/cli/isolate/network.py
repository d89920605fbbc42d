"""The network of an isolated command: loopback, and addresses for names that lead to sockets which are handed out."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable

from authsome.errors import UsageError

PROXY_PORT = 3128
"""Where the proxy listens on 127.0.0.1 in there."""

PROXY = f"http://127.0.0.1:{PROXY_PORT}"
"""The proxy as the command sees it. No token: only the run can reach it."""

_NAMES = ("198.18.0.0", 15)  # the proxy gives each name an address of these
_BACKLOG = 1024
_HEADER, _ERROR_AT = 16, 16
_REQUEST, _ACKNOWLEDGE, _CREATE = 1, 4, 0x400
_NEW_LINK, _NEW_ROUTE = 16, 24
_UP = 1
_LOCAL_TABLE, _STATIC, _HOST_SCOPE, _LOCAL = 255, 4, 254, 2
_DESTINATION, _OUT_INTERFACE = 1, 4


def refuse_this_machine(hosts: Iterable[str]) -> None:
    """Raises UsageError for a name or address of this machine: the command has a loopback of its own instead."""
    for host in hosts:
        if _is_here(host.lower().removeprefix("*.")):
            raise UsageError(
                f"--allow-host {host}: this machine is never reached from an isolated run",
                "start what the command needs in the run itself, or leave --isolate out",
            )


def _is_here(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        host = name  # a port does not belong there, but that is not the first thing to say
    host = host.strip("[]").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def raise_network() -> None:
    """Bring loopback up, and make the addresses of names ours; there is no other route."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.bind((0, 0))
        loopback = socket.if_nametoindex("lo")
        _ask(kernel, _NEW_LINK, 0, struct.pack("=BxHiII", 0, 0, loopback, _UP, _UP))
        network, bits = _NAMES
        route = struct.pack("=8BI", socket.AF_INET, bits, 0, 0, _LOCAL_TABLE, _STATIC, _HOST_SCOPE, _LOCAL, 0)
        route += struct.pack("=HH4s", 8, _DESTINATION, socket.inet_aton(network))
        route += struct.pack("=HHI", 8, _OUT_INTERFACE, loopback)
        _ask(kernel, _NEW_ROUTE, _CREATE, route)


def listening_sockets() -> list[socket.socket]:
    """Those that are handed out: the proxy, https, http, and the resolver by TCP and UDP."""
    places = (("127.0.0.1", PROXY_PORT), ("0.0.0.0", 443), ("0.0.0.0", 80), ("127.0.0.1", 53))  # noqa: S104 no network but its own
    sockets = [socket.create_server(place, backlog=_BACKLOG) for place in places]
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    return [*sockets, resolver]


def _ask(kernel: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """One rtnetlink request that is acknowledged. Raises OSError."""
    kernel.send(struct.pack("=IHHII", _HEADER + len(body), kind, _REQUEST | _ACKNOWLEDGE | flags, 1, 0) + body)
    number = struct.unpack_from("=i", kernel.recv(4096), _ERROR_AT)[0]
    if number:
        raise OSError(-number, os.strerror(-number), "rtnetlink")
