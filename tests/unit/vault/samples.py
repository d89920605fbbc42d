"""What the tests of the vault put into it, and how they look at its files."""

import contextlib
import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from authsome.model.connection import Client, Connection, Credential, Grant
from authsome.model.route import Route
from authsome.model.run import Run
from authsome.model.secret import Secret

ISSUER = "https://as.mock.test"
REDIRECT = "http://127.0.0.1:7998/auth/callback/oauth"


def a_connection(name: str = "default", provider: str = "mock", secret: str = "s3cret") -> Connection:
    """An OAuth connection with every field set."""
    return Connection(
        provider=provider,
        name=name,
        flow="dcr_pkce",
        scopes=("read", "write ünïcode"),
        routes=(Route.parse("api.mock.test"), Route.parse("*.files.mock.test:8443/v1")),
        base_url="https://mock.test",
        account="someone@mock.test",
        grant=Grant(
            issuer=ISSUER,
            token_url=f"{ISSUER}/token",
            revocation_url=f"{ISSUER}/revoke",
            redirect_uri=REDIRECT,
            resource="https://api.mock.test/mcp",
        ),
        credential=Credential(
            access_token=Secret(f"access-{secret}-{name}"),
            refresh_token=Secret(f"refresh-{secret}-{name}"),
            expires_at=1_800_000_000,
            obtained_at=1_700_000_000.25,
        ),
        created_at=1_700_000_000,
        updated_at=1_700_000_000.5,
    )


def a_key_connection(name: str = "default", provider: str = "keyed", secret: str = "s3cret") -> Connection:
    """A connection that is an API key."""
    return Connection(provider=provider, name=name, flow="api_key", credential=Credential(api_key=Secret(secret)))


def a_client(secret: str = "s3cret") -> Client:
    """A registered client with every field set."""
    return Client(
        issuer=ISSUER,
        redirect_uri=REDIRECT,
        client_id="client-1",
        client_secret=Secret(f"client-{secret}"),
        auth_method="client_secret_basic",
        secret_expires_at=1_900_000_000,
        registration_url=f"{ISSUER}/register/client-1",
        registration_token=Secret(f"registration-{secret}"),
    )


def a_run(id: str = "run-1") -> Run:
    """A run with every field set but its end."""
    return Run(
        id=id,
        token_digest=bytes(range(32)),
        pid=4242,
        process_started=2**40,
        command="curl",
        only=frozenset({"mock", "keyed"}),
        choices={"mock": "work"},
        started_at=1_700_000_000,
    )


def stored(c: Connection, version: int = 1, is_default: bool = True) -> Connection:
    """The connection as the vault gives it back."""
    return replace(c, version=version, is_default=is_default)


@contextlib.contextmanager
def raw(home: Path) -> Iterator[sqlite3.Connection]:
    """The database as somebody without the root key reaches it; what is done there is committed."""
    with contextlib.closing(sqlite3.connect(home / "vault.db")) as db, db:
        yield db


def content(home: Path) -> bytes:
    """All bytes of all files of a home."""
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process; returns its exit status, 0 where it ended well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
