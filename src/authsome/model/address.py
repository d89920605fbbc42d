"""What kind of place an IP address is, whatever its spelling (P14, X66)."""

import ipaddress
from enum import Enum, auto
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = frozenset({"169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "fd00:ec2::254"})
_PRIVATE = tuple(
    ipaddress.ip_network(n)
    for n in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "fc00::/7",
        "fec0::/10",
    )
)
_NOWHERE = tuple(
    ipaddress.ip_network(n)
    for n in ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "2001::/32", "64:ff9b:1::/48", "100::/64")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressKind(Enum):
    """A closed set; `PUBLIC` is what is left."""

    PUBLIC = auto()
    PRIVATE = auto()
    LOOPBACK = auto()
    LINK_LOCAL = auto()
    METADATA = auto()
    NOWHERE = auto()  # unspecified, multicast, broadcast


def _is_in(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def kind_of(text: str) -> AddressKind:
    """The kind of an IP address; IPv4 inside IPv6 (mapped, NAT64, 6to4) counts as what it leads to.

    Raises ValueError where the text is not an address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    if str(address) in _METADATA:
        return AddressKind.METADATA
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if address.is_link_local:
        return AddressKind.LINK_LOCAL
    if address.is_unspecified or address.is_multicast or _is_in(address, _NOWHERE):
        return AddressKind.NOWHERE
    if _is_in(address, _PRIVATE):
        return AddressKind.PRIVATE
    return AddressKind.PUBLIC
