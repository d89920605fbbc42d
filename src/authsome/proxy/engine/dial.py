"""Opening a connection: resolve once, check every address, dial only what was checked (P1, X24, X66).

Through the owner's upstream proxy only what is written can be checked: it is the proxy that resolves the name.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from authsome.broker.egress import Egress, Hop
from authsome.broker.roots import verified_context
from authsome.errors import Unreachable
from authsome.model.authority import Authority, BadAuthority
from authsome.proxy.engine.connect import HopRefused, ask
from authsome.proxy.engine.ports import ProxySettings
from authsome.proxy.engine.refusals import Refusal
from authsome.proxy.rules.address import Purpose, refuse_address, refuse_name

_STAGGER = 0.25  # before the next address is tried beside the last (RFC 8305 §5)


class CannotDial(Exception):
    """No connection, and what the child is told about it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Origin(NamedTuple):
    """Where upstream connections go. `secure` is false for clear text, which never carries a credential.

    `isolated` connections are for a run to which this machine is out of reach.
    """

    host: str
    port: int
    secure: bool = True
    isolated: bool = False
    run: str = ""  # whose connection it is, where runs do not share it

    def __str__(self) -> str:
        return str(Authority(self.host, self.port))


@dataclass(frozen=True, slots=True)
class Dialler:
    """Who may be dialled, and how. `own_ports` are authsome's, `resolve` the owner's own addresses for some hosts."""

    resolve: Mapping[str, str]
    own_ports: frozenset[int]
    connect_time: float
    egress: Egress = field(default_factory=Egress)

    @classmethod
    def of(cls, settings: ProxySettings, own_port: int) -> "Dialler":
        """As the settings say, the proxy's own port added."""
        own_ports = settings.own_ports | {own_port}
        egress = settings.egress.without(own_ports)
        return cls(settings.resolve, own_ports, settings.limits.connect_time, egress)

    async def connect(self, origin: Origin, purpose: Purpose) -> socket.socket:
        """A connected socket, on which nothing has been read or written of the origin's. Raises CannotDial."""
        fixed = self.resolve.get(str(origin)) or self.resolve.get(origin.host)
        hop = None if fixed else self._hop(origin, purpose)
        whose = f"the upstream proxy {hop}: " if hop else ""
        try:
            async with asyncio.timeout(self.connect_time):
                if hop is not None:
                    return await _through(hop, origin)
                return await _race([_fixed(fixed, origin)] if fixed else await self._addresses(origin, purpose))
        except TimeoutError:
            raise unreachable(origin, f"{whose}it does not answer") from None
        except socket.gaierror as error:
            raise unreachable(origin, f"{whose}its name does not resolve ({error.strerror})") from None
        except (OSError, UnicodeError) as error:
            number = getattr(error, "errno", None)  # the event loop puts words of its own beside it
            raise unreachable(origin, whose + (os.strerror(number) if number else "the connection failed")) from None

    def _hop(self, origin: Origin, purpose: Purpose) -> Hop | None:
        """The proxy to go through; what is refused as it is written is refused on either way."""
        why = refuse_name(origin.host)
        if not why and Authority(origin.host, origin.port).is_ip:
            why = refuse_address(origin.host, origin.port, purpose, self.own_ports)
        if why:
            raise _refused(origin, why)
        if purpose.is_clear:
            return None
        try:
            return self.egress.hop_to(origin.host, origin.port)
        except Unreachable as error:
            raise CannotDial(Refusal.of_error(error)) from None

    async def _addresses(self, origin: Origin, purpose: Purpose) -> list[tuple[str, int]]:
        """Every address that may be dialled, as text and port."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(info[4][0]) for info in infos))
        allowed = []
        why = "it has no address"
        for text in texts:
            why = refuse_address(text, origin.port, purpose, self.own_ports)
            if not why:
                allowed.append((text, origin.port))
        if not allowed:
            raise _refused(origin, why)
        return _interleaved(allowed)


async def _through(hop: Hop, origin: Origin) -> socket.socket:
    """A socket to the origin by way of the proxy. The proxy is the owner's choice: any address of it is dialled."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(hop.place.host, hop.place.port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((str(info[4][0]), hop.place.port) for info in infos)
    sock = await _race(_interleaved(list(addresses)))
    try:
        await ask(sock, hop, str(origin))
    except HopRefused as error:
        sock.close()
        hint = f"check the user name and password in {hop.setting}" if error.status == 407 else ""
        raise unreachable(origin, f"the upstream proxy {hop} {error}", hint) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _fixed(text: str, origin: Origin) -> tuple[str, int]:
    try:
        authority = Authority.parse(text, origin.port)
    except BadAuthority as error:
        raise unreachable(origin, f"the setting resolve is wrong: {error}") from None
    return authority.host, authority.port


def _interleaved(addresses: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The families by turns, as the resolver ordered them within each (RFC 8305 §4)."""
    first = [a for a in addresses if (":" in a[0]) == (":" in addresses[0][0])]
    second = [a for a in addresses if a not in first]
    mixed = []
    while first or second:
        mixed += first[:1] + second[:1]
        first, second = first[1:], second[1:]
    return mixed


async def _race(addresses: list[tuple[str, int]]) -> socket.socket:
    """The first of them that connects. Raises the last OSError."""
    if len(addresses) == 1:
        return await _connect(*addresses[0])
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(*waiting.pop(0))))
            stagger = _STAGGER if waiting else None
            done, running = await asyncio.wait(running, timeout=stagger, return_when=asyncio.FIRST_COMPLETED)
            won = [task for task in done if task.exception() is None]
            if won:
                running.update(won[1:])
                return won[0].result()
            for task in done:
                error = task.exception()
                failure = error if isinstance(error, OSError) else failure
        raise failure
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """The socket of one that connected after the race was won."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def upstream_context(ca_files: Iterable[str], protocol: str) -> ssl.SSLContext:
    """How upstream servers are verified; `protocol` is what is offered to them (ALPN). Raises DaemonUnavailable."""
    context = verified_context(ca_files)
    context.set_alpn_protocols([protocol])
    return context


def unreachable(origin: Origin, why: str, hint: str = "") -> CannotDial:
    """What the child is told where a connection failed."""
    return CannotDial(Refusal(502, "endpoint_unreachable", f"{origin} cannot be reached: {why}", hint))


def untrusted(origin: Origin, error: ssl.SSLError) -> CannotDial:
    """What the child is told where a server did not prove who it is (X64)."""
    why = getattr(error, "verify_message", "") or (error.reason or "TLS failed").lower().replace("_", " ")
    hint = "if the server is right, name its root in AUTHSOME_CA_FILE" if hasattr(error, "verify_message") else ""
    return CannotDial(Refusal(502, "endpoint_unreachable", f"{origin} cannot be trusted: {why}", hint))


def _refused(origin: Origin, why: str) -> CannotDial:
    return CannotDial(Refusal(403, "destination_refused", f"{origin} is not dialled: {why}"))
