"""What the engine needs from the house, and the limits it works within."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from authsome.broker.egress import Egress
from authsome.model.event import Event
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.model.waiting import Noted
from authsome.proxy.rules.table import RouteTable
from authsome.settings import Settings


class House(Protocol):
    """The broker, seen from the proxy. Nothing here blocks."""

    def table(self) -> RouteTable:
        """The route table of this moment; it is asked for at each request."""
        ...

    def run_of(self, token_digest: bytes) -> Run | None:
        """The live run whose token has this SHA-256, compared in constant time."""
        ...

    def lend_now(self, provider: str, connection: str) -> Secret | None:
        """A fresh credential, where one can be had without waiting."""
        ...

    async def lend(self, provider: str, connection: str) -> Secret:
        """A fresh credential, refreshed first where needed.

        Raises NeedsLogin, CredentialMissing or Unreachable.
        """
        ...

    def can_renew(self, provider: str, connection: str, refused: Secret) -> bool:
        """Whether a credential that the provider just answered 401 to could be replaced by `renew`."""
        ...

    async def renew(self, provider: str, connection: str, refused: Secret) -> Secret:
        """Another credential than the refused one. Raises NeedsLogin, CredentialMissing or Unreachable."""
        ...

    def record(self, event: Event) -> Noted:
        """Keep an event, which may be counted up as long as it waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Promises §3; times in seconds, sizes in bytes.

    `silence` ends an exchange or a relay on which nothing moves, `idle` a connection between requests. What begins
    with `run` is what one run may have, connections of its own fewer than those to one server, so that none takes a
    server from the others; `run_memory` is for bodies that are held and answers that are not read.
    """

    head_time: float = 10.0
    handshake_time: float = 10.0
    connect_time: float = 10.0
    idle: float = 120.0
    silence: float = 900.0
    continue_time: float = 1.0
    linger: float = 2.0
    upstream_idle: float = 50.0
    run_connections: int = 1024
    run_http2_connections: int = 16
    run_memory: int = 256 << 20
    upstream_connections: int = 4096
    upstream_kept: int = 1024
    held_back: int = 65536
    buffer: int = 262144


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """`resolve` maps a host, or `host:port`, to the `address:port` that is dialled instead of it.

    `own_ports` are the ports that authsome listens on; `ca_files` hold extra upstream roots (PEM). `egress` tells
    which connections go through a proxy of the owner's network.
    """

    resolve: Mapping[str, str] = field(default_factory=dict)
    own_ports: frozenset[int] = frozenset()
    ca_files: tuple[str, ...] = ()
    egress: Egress = field(default_factory=Egress)
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the owner chose."""
        return cls(
            resolve=settings.resolve,
            own_ports=frozenset({settings.port}),
            ca_files=settings.ca_files,
            egress=Egress.of(settings),
        )
