"""The real authorization servers: started on free loopback ports, asked and changed while they run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parts.child import Child, Launch
from parts.machine import HERE, node

Library = Literal["1", "0_4", "0_0_13", "0_0_5"]
LIBRARIES: tuple[Library, ...] = ("1", "0_4", "0_0_13", "0_0_5")  # of Cloudflare's workers-oauth-provider


@dataclass(frozen=True)
class Stats:
    """What a server has counted since it started."""

    registrations: int
    codes: int
    refreshes: int
    refresh_refused: int
    device: int
    revoked: int
    api_ok: int
    api_401: int


@dataclass(frozen=True)
class Seen:
    """One request that reached a server, without its secrets. `auth` is how the client proved itself."""

    method: str
    path: str
    status: int
    auth: Literal["basic", "post", "none"] | None = None
    grant: str | None = None
    client: str | None = None
    resource: str | None = None
    scope: str | None = None
    error: str | None = None


class AuthorizationServer:
    """A running server: `issuer` is its public URL, `local` the loopback URL on which it listens."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.issuer: str = child.ready["ready"]
        self.local: str = child.ready["local"]

    def stats(self) -> Stats:
        """Counters."""
        return Stats(**self._child.call("stats"))

    def seen(self) -> list[Seen]:
        """The requests that reached it, in the order of their answers."""
        return [Seen(**entry) for entry in self._child.call("seen")]

    def set(
        self, *, access_ttl: int | None = None, token_delay_ms: int | None = None, fail_next_token: int | None = None
    ) -> None:
        """Change its behaviour from the next request on. `fail_next_token` is an HTTP status (400: invalid_grant).

        `access_ttl` (seconds) works for oidc-provider; Cloudflare's is fixed at its start, 60 at least.
        """
        knobs = {"access_ttl": access_ttl, "token_delay_ms": token_delay_ms, "fail_next_token": fail_next_token}
        self._child.call("set", {name: value for name, value in knobs.items() if value is not None})

    def forget_clients(self) -> None:
        """Drop every registered client, as if its registration had expired."""
        self._child.call("forget")

    def reset(self) -> None:
        """As it was at its start: no clients, no counts, no changed behaviour. What it has issued stays valid."""
        self._child.call("reset")

    def stop(self) -> None:
        """End it now; its port then refuses."""
        self._child.stop()


class Servers:
    """Starts servers, one for each set of options, and ends them all; a server asked for again is reset first.

    `token_prefix` begins every secret that they make; `launch` places their processes.
    """

    def __init__(self, directory: Path, token_prefix: str = "", launch: Launch | None = None) -> None:
        self._directory = directory
        self._token_prefix = token_prefix
        self._launch = launch
        self._started: dict[tuple[str, ...], AuthorizationServer] = {}

    def oidc(self, *options: str, origin: str | None = None) -> AuthorizationServer:
        """oidc-provider, and an API at /api/whoami; for `options` such as "--auto" see as_oidc/server.mjs."""
        return self._start("as_oidc", [*options], origin)

    def cloudflare(self, *options: str, library: Library = "1", origin: str | None = None) -> AuthorizationServer:
        """Cloudflare's provider, and an MCP server at /mcp; for `options` see as_cloudflare/server.mjs."""
        return self._start("as_cloudflare", ["--lib", library, *options], origin)

    def close(self) -> None:
        """End every server that was started here."""
        for server in self._started.values():
            server.stop()
        self._started.clear()

    def _start(self, part: str, options: list[str], origin: str | None) -> AuthorizationServer:
        key = (part, *options, origin or "")
        if key in self._started:
            self._started[key].reset()
            return self._started[key]
        argv = [node(), "--no-warnings", str(HERE / part / "server.mjs"), *options]
        argv += [f"--origin={origin}"] if origin else []
        argv += [f"--token-prefix={self._token_prefix}"] if self._token_prefix else []
        log = self._directory / f"{part}-{len(self._started)}.log"
        server = AuthorizationServer(Child(argv, log, self._launch))
        self._started[key] = server
        return server
