"""Outgoing calls to authorization servers: bounded, pinned to a checked address, never redirected (P14).

Through the owner's upstream proxy there is no address to pin: it resolves the name, and TLS verifies who answers.
"""

import asyncio
import importlib
import ipaddress
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from authsome.broker.egress import Egress, Hop
from authsome.broker.roots import LaterContext, verified_context
from authsome.errors import LoginFailed, Unreachable
from authsome.flows.steps import Fetch, Fetched, Step
from authsome.model.address import AddressKind, kind_of
from authsome.model.authority import Authority, BadAuthority, normal_host
from authsome.model.route import is_loopback_url
from authsome.proxy.rules.address import refuse_name

TIME_LIMIT = 10.0
CACHE_SECONDS = 600.0
CACHE_SIZE = 256


class Fetcher:
    """Carries out `Fetch` steps. One slow server delays no other: each call has a connection of its own."""

    def __init__(self, ca_files: Iterable[str], resolve: dict[str, str], egress: Egress | None = None) -> None:
        self._tls = LaterContext(lambda: verified_context(ca_files))
        self._resolve = resolve
        self._egress = egress or Egress()
        self._cache: dict[str, tuple[float, Fetched]] = {}

    async def __call__(self, step: Fetch) -> Fetched:
        """The answer, whatever its status. Raises Unreachable, or LoginFailed for an answer out of bounds."""
        if step.cacheable:
            kept = self._cache.get(step.url)
            if kept is not None and kept[0] > time.monotonic():
                return kept[1]
        answer = await self._bounded(step)
        if step.cacheable and answer.status == 200:
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[step.url] = (time.monotonic() + CACHE_SECONDS, answer)
        return answer

    async def perform(self, step: Step) -> Fetched:
        """For dialogues that only fetch, such as a refresh."""
        if not isinstance(step, Fetch):
            raise TypeError(f"this dialogue may not ask for {type(step).__name__}")
        return await self(step)

    async def _bounded(self, step: Fetch) -> Fetched:
        host = urlsplit(step.url).hostname or ""
        try:
            async with asyncio.timeout(TIME_LIMIT):
                return await self._call(step)
        except TimeoutError:
            raise Unreachable(f"{host} did not answer within {TIME_LIMIT:.0f} s", "try again later") from None

    async def _call(self, step: Fetch) -> Fetched:
        parts = urlsplit(step.url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            bare = parts.hostname or ""
            host = normal_host(f"[{bare}]" if ":" in bare else bare)
        except (BadAuthority, ValueError):
            raise LoginFailed(f"not a URL that can be called: {parts.scheme}://{parts.hostname}") from None
        if parts.scheme != "https" and not (step.owner_wrote and is_loopback_url(step.url)):
            raise LoginFailed(f"{host} is not called without TLS")
        hop = self._hop(host, port, step)
        address, port = (host, port) if hop else await self._address(host, port, step)
        shown = f"[{address}]" if ":" in address else address
        path = parts.path or "/"
        target = f"{parts.scheme}://{shown}:{port}{path}" + (f"?{parts.query}" if parts.query else "")
        # with its library two megabytes, which nobody needs who only uses keys, and too slow for the event loop
        await asyncio.to_thread(importlib.import_module, "authsome.broker.carrier")
        from authsome.broker.carrier import NotCarried, call

        try:
            return await call(step, target, parts.netloc.rpartition("@")[2], host, await self._tls.get(), hop)
        except NotCarried as error:
            through = f" through the upstream proxy {hop}" if hop else ""
            raise Unreachable(f"{host} cannot be reached{through}: {error}", error.hint) from None

    def _hop(self, host: str, port: int, step: Fetch) -> Hop | None:
        """The proxy to go through. What leads inside as it is written is refused before."""
        hop = None if host in self._resolve else self._egress.hop_to(host, port)
        if hop is not None:
            inside = Authority(host, port).is_ip and kind_of(host) not in _allowed(step)
            if inside or refuse_name(host):
                raise _led_astray(host)
        return hop

    async def _address(self, host: str, port: int, step: Fetch) -> tuple[str, int]:
        """Resolve once and check every address; the one that was checked is the one that is dialled."""
        written = self._resolve.get(host)
        if written is not None:
            address, _, number = written.rpartition(":")
            return address.strip("[]"), int(number)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(f"{host} cannot be resolved: {error.strerror or error}", "check the network") from None
        allowed = _allowed(step)
        addresses = [str(entry[4][0]) for entry in found]
        if any(kind_of(address) not in allowed for address in addresses):
            raise _led_astray(host)
        return sorted(addresses, key=lambda a: ipaddress.ip_address(a.partition("%")[0]).version)[0], port


def _allowed(step: Fetch) -> set[AddressKind]:
    allowed = {AddressKind.PUBLIC}
    if step.owner_wrote:
        allowed.add(AddressKind.PRIVATE)
        if is_loopback_url(step.url):
            allowed.add(AddressKind.LOOPBACK)
    return allowed


def _led_astray(host: str) -> LoginFailed:
    return LoginFailed(f"{host} leads to an address that is not called on a server's word")
