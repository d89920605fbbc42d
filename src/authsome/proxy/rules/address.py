"""Which addresses may be dialled: the pure part of what keeps the proxy from being turned on its own machine."""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Where clouds hand out credentials to whoever asks from inside (X66).
_METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
_NAT64 = ip_network("64:ff9b::/96")


class Purpose(Enum):
    """What a connection is for: to carry a credential, or to be relayed without a look at it."""

    ROUTED = "routed"
    TUNNEL = "tunnel"


def refuse_name(host: str) -> str:
    """Why a name is not even resolved, or ""."""
    return "it is a cloud's metadata service" if host in _METADATA_NAMES else ""


def refuse_address(text: str, port: int, purpose: Purpose, own_ports: frozenset[int]) -> str:
    """Why an address is not dialled, or "". `own_ports` are those that authsome itself listens on."""
    address = _real(ip_address(text.partition("%")[0]))
    if address in _METADATA:
        return "it is a cloud's metadata service"
    if address.is_link_local:
        return "it is a link-local address"
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        return "it is not the address of one host"
    if address.is_loopback and (purpose is Purpose.ROUTED or port in own_ports):
        return "it is this machine" if purpose is Purpose.ROUTED else "it is authsome itself"
    return ""


def _real(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one that only wraps it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
