"""Examining the house: one line a check, each with a hint where it is not well."""

import stat
import time
from dataclasses import dataclass
from pathlib import Path

from authsome.broker.egress import Egress
from authsome.broker.roots import system_roots
from authsome.catalog.catalog import Entry, Source
from authsome.daemon.approvals import ANY
from authsome.daemon.house import House
from authsome.daemon.processes import can_watch
from authsome.errors import AuthsomeError, ProviderNotFound, UsageError
from authsome.model.connection import Connection, Status


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` is None for what is worth knowing but not wrong."""

    name: str
    ok: bool | None
    detail: str
    hint: str | None = None

    def to_json(self) -> dict[str, object]:
        """As it travels."""
        shown: dict[str, object] = {"name": self.name, "ok": self.ok, "detail": self.detail}
        if self.hint:
            shown["hint"] = self.hint
        return shown


async def examine(house: House) -> list[Check]:
    """Every check, in the order in which a person would look."""
    return [
        *_home(house),
        await _vault(house),
        *_catalog(house),
        *_connections(house),
        *_clashes(house),
        *_reveal(house),
        Check("pages", True, f"{house.settings.origin} serves the login pages"),
        _proxy(house),
        *_egress(house),
        _roots(),
        _watching(),
    ]


def _home(house: House) -> list[Check]:
    home = Path(house.settings.home)
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        return [Check("home", False, f"{home} is open to others (mode {mode:o})", f"chmod 700 {home}")]
    return [Check("home", True, str(home))]


async def _vault(house: House) -> Check:
    source = house.store.vault.key_source.value
    try:
        problems = await house.store(lambda vault: vault.check())
    except AuthsomeError as error:
        return Check("vault", False, error.message, error.hint)
    if problems:
        return Check("vault", False, "; ".join(problems), "restore a backup, or log in again where a row is named")
    return Check("vault", True, f"every sealed field opens; the root key comes from: {source}")


def _catalog(house: House) -> list[Check]:
    entries = house.catalog.entries()
    custom = sorted(name for name, entry in entries.items() if entry.source is Source.CUSTOM)
    checks = [Check("providers", True, f"{len(entries)} known")]
    if custom:
        checks.append(Check("custom", None, f"custom files in force: {', '.join(custom)}"))
    for bad in house.catalog.problems():
        checks.append(Check("provider file", False, f"{bad.path}: {bad.message}", "fix the file or remove it"))
    return checks


def _connections(house: House) -> list[Check]:
    entries = house.catalog.entries()
    return [_connection(each, entries.get(each.provider)) for each in house.broker.lender.connections()]


def _clashes(house: House) -> list[Check]:
    return [
        Check(
            "routes",
            None,
            f"{clash}: requests there are refused",
            f"log out of one of them, or: authsome run --only {clash.providers[0]}",
        )
        for clash in house.broker.lender.table().clashes()
    ]


def _reveal(house: House) -> list[Check]:
    rules = house.approvals.policy
    if not rules:
        return []
    in_force = ", ".join(f"{name} = {rule}" for name, rule in rules.items())
    unknown = rules_for_nobody(house)
    return [
        Check("reveal", True, f"config.toml says who is shown credentials in clear: {in_force}"),
        *(
            Check("reveal", False, f"the rule for {name!r} holds for nothing: {why}", hint)
            for name, why, hint in unknown
        ),
    ]


def rules_for_nobody(house: House) -> list[tuple[str, str, str | None]]:
    """The names of [reveal] that no provider has, each with why and what was meant: misspelt, it guards nothing."""
    found: list[tuple[str, str, str | None]] = []
    connected = {connection.provider for connection in house.broker.lender.connections()}
    for name in house.approvals.policy:
        if name != ANY and name not in connected:
            try:
                house.catalog.get(name)
            except ProviderNotFound as error:
                found.append((name, error.message, error.hint))
    return found


def _connection(connection: Connection, entry: Entry | None) -> Check:
    name, status = str(connection), connection.status(time.time())
    if status is not Status.CONNECTED:
        hint = f"authsome login {connection.provider} --connection {connection.name}"
        return Check(name, False, status.value, hint)
    if entry is None:
        return Check(name, False, "its provider file is gone", "register it again, or log out")
    was = [", ".join(map(str, connection.routes)), str(connection.placement or "")]
    try:
        now = [", ".join(map(str, entry.provider.routes(connection.base_url))), ""]
    except UsageError as error:
        now = [error.message, ""]
    if connection.placement is not None:
        now[1] = str(entry.provider.placement(api_key=connection.credential.api_key is not None))
    for before, after in zip(was, now, strict=True):
        if before != after:
            return Check(
                name, None, f"the login was for {before}; its file now says {after}", "log in again to change it"
            )
    return Check(name, True, status.value)


def _proxy(house: House) -> Check:
    where, wanted = f"listening on 127.0.0.1:{house.proxy_port}", house.settings.workers
    if wanted == 1:
        return Check("proxy", True, where)
    there = house.workers.pids
    if len(there) < wanted:
        return Check("proxy", None, f"{where}; {len(there)} of {wanted} workers serve", "see: authsome daemon logs")
    return Check("proxy", True, f"{where}; {wanted} workers serve (processes {', '.join(map(str, there))})")


def _egress(house: House) -> list[Check]:
    egress = Egress.of(house.settings)
    if egress.fault:
        hint = "set upstream_proxy in config.toml, then: authsome daemon restart"
        return [Check("upstream proxy", False, egress.fault, hint)]
    if egress.hop is None:
        return []
    return [Check("upstream proxy", None, f"connections go through {egress.hop} ({egress.hop.setting})")]


def _roots() -> Check:
    if system_roots():
        return Check("certificates", True, "the system's roots are found")
    return Check("certificates", False, "no roots of the system are found", "install ca-certificates")


def _watching() -> Check:
    if can_watch():
        return Check("runs", True, "ended by pidfd the moment their process ends")
    return Check("runs", False, "this system has no pidfd", "authsome run needs Linux 5.3 or later for now")
