"""The tables, their revision, and the way from an older revision to this one.

Columns with `sealed` in their info hold envelopes of `seal.Sealer`. A table with a column `mark` keeps
in it the MAC over all other columns. Times are seconds since the epoch.
"""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy.engine import Connection, Dialect

from authsome.errors import VaultError
from authsome.vault.sqlite import Store

REVISIONS = ("r0001",)
HEAD = REVISIONS[-1]
MIGRATIONS = Path(__file__).with_name("migrations")

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"},
)


class Blob(LargeBinary):
    """Bytes as the driver gives them: a damaged file may hold something else, which the row's mark tells."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """None: nothing is converted."""


def _sealed(name: str) -> Column[bytes]:
    return Column(name, Blob, info={"sealed": True})


def _mark() -> Column[bytes]:
    return Column("mark", Blob, nullable=False)


# One row: what the vault is, and how its key is known. `ledger` lists the connections there are.
vault = Table(
    "vault",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("key_source", Text, nullable=False),
    Column("key_account", Text),
    Column("key_check", Blob, nullable=False),
    Column("checksum", Blob, nullable=False),
    Column("ledger", Blob, nullable=False),
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

connections = Table(
    "connections",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("is_default", Integer, nullable=False),
    Column("needs_login", Integer, nullable=False),
    Column("flow", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("routes", Text, nullable=False),
    Column("base_url", Text),
    Column("account", Text),
    Column("issuer", Text),
    Column("token_url", Text),
    Column("revocation_url", Text),
    Column("redirect_uri", Text),
    Column("resource", Text),
    Column("token_type", Text, nullable=False),
    Column("expires_at", Double),
    Column("obtained_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    _sealed("access_token"),
    _sealed("refresh_token"),
    _sealed("api_key"),
    _mark(),
    sqlite_with_rowid=False,
)
Index(
    "ix_connections_one_default",
    connections.c.provider,
    unique=True,
    sqlite_where=connections.c.is_default == 1,
)

clients = Table(
    "clients",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("redirect_uri", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("auth_method", Text, nullable=False),
    Column("registered", Integer, nullable=False),
    Column("secret_expires_at", Double),
    Column("registration_url", Text),
    _sealed("client_secret"),
    _sealed("registration_token"),
    _mark(),
    sqlite_with_rowid=False,
)

authorities = Table(
    "authorities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("certificate", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    _sealed("private_key"),
    _mark(),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    _mark(),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_digest", Blob, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process_started", BigInteger, nullable=False),
    Column("command", Text, nullable=False),
    Column("only", Text),
    Column("choices", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    _mark(),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("fields", Text, nullable=False),
    sqlite_autoincrement=True,  # the id of a pruned event is never given again
)


def create(connection: Connection) -> None:
    """All tables at the newest revision, in a new store."""
    metadata.create_all(connection)
    connection.execute(alembic_version.insert().values(version_num=HEAD))


def revision(store: Store) -> str:
    """The revision that is stored. Raises VaultError where there is none, or one newer than this version knows."""
    with store.reading() as connection:
        if not inspect(connection).has_table("alembic_version"):
            raise VaultError(f"{store.path}: holds no revision", "it is not a vault, or is damaged: restore a backup")
        found = connection.execute(select(alembic_version.c.version_num)).scalars().all()
    if len(found) != 1:
        raise VaultError(f"{store.path}: holds {len(found)} revisions instead of one", "restore it from a backup")
    if found[0] not in REVISIONS:
        raise VaultError(
            f"{store.path}: was written by a newer version of authsome (revision {found[0]}, this one knows {HEAD})",
            "upgrade authsome, or restore the backup made before that upgrade (vault.db.before-*)",
        )
    return str(found[0])


def upgrade(store: Store) -> None:
    """Brings the store to the newest revision in one transaction, after a backup `vault.db.before-<revision>`.

    Raises VaultError; the store is then as it was.
    """
    from alembic import command  # 100 ms, needed once per upgrade
    from alembic.config import Config
    from alembic.util.exc import CommandError

    store.backup(store.path.with_name(f"{store.path.name}.before-{HEAD}"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with store.writing() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise VaultError(f"{store.path}: the upgrade to revision {HEAD} failed: {error}") from error
