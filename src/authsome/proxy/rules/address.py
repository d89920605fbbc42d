"""Which addresses may be dialled: the pure part of what keeps the proxy from being turned on its own machine."""

from enum import Enum
from typing import assert_never

from authsome.model.address import AddressKind, kind_of

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
_METADATA = "it is a cloud's metadata service"


class Purpose(Enum):
    """What a connection is for: to carry a credential, to be relayed without a look at it, or for clear text.

    The last two also where an isolated run asks, to which this machine is out of reach.
    """

    ROUTED = "routed"
    TUNNEL = "tunnel"
    CLEAR = "clear"
    ISOLATED_TUNNEL = "isolated tunnel"
    ISOLATED_CLEAR = "isolated clear"

    @property
    def is_clear(self) -> bool:
        """Whether it is for clear text."""
        return self in (Purpose.CLEAR, Purpose.ISOLATED_CLEAR)


def refuse_name(host: str) -> str:
    """Why a name is not even resolved, or ""."""
    return _METADATA if host in _METADATA_NAMES else ""


def refuse_address(text: str, port: int, purpose: Purpose, own_ports: frozenset[int]) -> str:
    """Why an address is not dialled, or "" (X24, X66). `own_ports` are those that authsome itself listens on."""
    kind = kind_of(text)
    match kind:
        case AddressKind.PUBLIC | AddressKind.PRIVATE:
            return ""
        case AddressKind.METADATA:
            return _METADATA
        case AddressKind.LINK_LOCAL:
            return "it is a link-local address"
        case AddressKind.NOWHERE:
            return "it is not the address of one host"
        case AddressKind.LOOPBACK if purpose not in (Purpose.TUNNEL, Purpose.CLEAR):
            return "it is this machine"
        case AddressKind.LOOPBACK:
            return "it is authsome itself" if port in own_ports else ""
        case _:
            assert_never(kind)
