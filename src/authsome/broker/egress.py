"""The way out: which of our own connections go through a proxy of the owner's network, and which go directly."""

import base64
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from authsome.errors import Unreachable
from authsome.model.address import AddressKind, kind_of
from authsome.model.authority import Authority, BadAuthority, normal_host
from authsome.model.secret import Secret
from authsome.settings import Settings

RUN_USER = "run"
"""The user name under which the programs of a run speak to authsome's own proxy."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_OTHERS = frozenset({"https", "socks", "socks4", "socks4a", "socks5", "socks5h"})  # shown; anything else may be a slip
_HINT = "set upstream_proxy in config.toml to http://HOST:PORT, or to nothing for direct connections"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hop:
    """The upstream proxy. `authorization` is its Proxy-Authorization, `setting` the name under which it was set."""

    place: Authority
    setting: str
    authorization: Secret | None = None

    def __str__(self) -> str:
        return str(self.place)


@dataclass(frozen=True, slots=True)
class Exemption:
    """An entry of NO_PROXY: a name with all below it, or a network, at one port or at every one."""

    name: str = ""
    network: _Network | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Exemption | None":
        """`*`, `name`, `.name`, `*.name`, an address or a network, each with `:port` or without; None for no such."""
        host, port = _split(text.strip())
        if host == "*":
            return cls(port=port)
        try:
            return cls(network=ipaddress.ip_network(host.strip("[]"), strict=False), port=port)
        except ValueError:
            pass
        try:
            return cls(name=normal_host(host.removeprefix("*").removeprefix(".")), port=port)
        except BadAuthority:
            return None

    def covers(self, host: str, port: int) -> bool:
        """Whether a host in its normal form, at a port, is meant. An address is never covered by a name."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            address = _address(host)
            return address is not None and address.version == self.network.version and address in self.network
        return not self.name or host == self.name or (host.endswith(f".{self.name}") and _address(host) is None)


@dataclass(frozen=True, slots=True)
class Egress:
    """The proxy and its exemptions; without a hop everything goes directly. `fault`: why the setting cannot be used."""

    hop: Hop | None = None
    fault: str = ""
    exemptions: tuple[Exemption, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Egress":
        """As the settings say. A proxy of authsome itself, as a program in a run finds it, does not count."""
        if not settings.upstream_proxy:
            return cls()
        exemptions = tuple(each for each in map(Exemption.parse, settings.no_proxy) if each is not None)
        try:
            hop, user = _parse(settings.upstream_proxy, settings.upstream_proxy_setting)
        except BadAuthority as error:
            return cls(fault=f"{settings.upstream_proxy_setting} cannot be used: {error}", exemptions=exemptions)
        if user == RUN_USER and _is_loopback(hop.place.host):
            return cls()
        return cls(hop, exemptions=exemptions).without(frozenset({settings.port, settings.proxy_port}))

    def without(self, own_ports: frozenset[int]) -> "Egress":
        """The same, unless the proxy is a port of our own: that would be a loop."""
        if self.hop is not None and self.hop.place.port in own_ports and _is_loopback(self.hop.place.host):
            return Egress()
        return self

    def hop_to(self, host: str, port: int) -> Hop | None:
        """The proxy that leads to a host in its normal form, None for a direct connection.

        Raises Unreachable where a proxy is set that cannot be used: going past it would not be what was meant.
        """
        if self.hop is None and not self.fault:
            return None
        if _is_loopback(host) or any(each.covers(host, port) for each in self.exemptions):
            return None
        if self.fault:
            raise Unreachable(self.fault, _HINT)
        return self.hop


def _parse(url: str, setting: str) -> tuple[Hop, str]:
    """The proxy of a URL, and the user name in it. Raises BadAuthority with nothing of the URL in it."""
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else "http"
    if scheme != "http":
        named = f"a {scheme}:// proxy" if scheme in _OTHERS else "another kind of proxy"
        raise BadAuthority(f"it names {named}, and authsome speaks to http:// proxies only")
    credentials, at, place = url[found.end() if found else 0 :].rpartition("@")
    if any(c in "/?#" or not c.isprintable() or c.isspace() for c in credentials):
        raise BadAuthority("/ ? # and spaces in the user name or password have to be percent-encoded")
    authority = Authority.parse(re.split("[/?#]", place, maxsplit=1)[0], 80)
    if not at:
        return Hop(authority, setting), ""
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    pair = base64.b64encode(f"{user}:{password}".encode(errors="surrogateescape")).decode()
    return Hop(authority, setting, Secret(f"Basic {pair}")), user


def _split(text: str) -> tuple[str, int | None]:
    """Host and port, where a port is written; an IPv6 address has one only behind its brackets."""
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return text, None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    if _address(host) is not None:
        return kind_of(host) is AddressKind.LOOPBACK
    return host == "localhost" or host.endswith(".localhost")
