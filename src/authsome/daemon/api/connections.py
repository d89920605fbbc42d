"""`/connections` and `/exports`: looking at connections, handing credentials out, logging out."""

from fastapi import APIRouter, Request

from authsome.broker.broker import Variable
from authsome.daemon import processes
from authsome.daemon.api.callers import OWNER_ONLY, Here, Pid, withheld_inside_runs
from authsome.daemon.api.shapes import Body, connection_json, masked_secrets
from authsome.daemon.approvals import ANY
from authsome.daemon.house import House
from authsome.errors import AuthsomeError, ConnectionNotFound, CredentialMissing, UsageError
from authsome.model.secret import MASK

SECRET_FIELDS = ("access_token", "refresh_token", "api_key")

router = APIRouter()


class NameBody(Body):
    """A connection by name; None means the default."""

    connection: str | None = None


class ExportBody(Body):
    """What to export; without a provider, every connected one."""

    provider: str | None = None
    connection: str | None = None
    approval: str | None = None


@router.get("/connections")
async def all_of_them(house: Here) -> dict[str, object]:
    """Every connection."""
    return {"connections": [connection_json(c) for c in house.broker.lender.connections()]}


@router.get("/connections/{provider}")
async def show(provider: str, house: Here, connection: str | None = None) -> dict[str, object]:
    """One connection, its secrets masked."""
    found = house.broker.resolve(provider, connection)
    return connection_json(found) | masked_secrets(found)


@router.get("/connections/{provider}/fields/{field}")
async def show_field(
    request: Request,
    provider: str,
    field: str,
    house: Here,
    pid: Pid,
    connection: str | None = None,
    show_secret: bool = False,
    approval: str | None = None,
) -> dict[str, object]:
    """One field. A secret is shown in clear only to the owner who asks for it, and fresh."""
    found = house.broker.resolve(provider, connection)
    if field not in SECRET_FIELDS:
        shown = connection_json(found)
        if field not in shown:
            known = ", ".join([*shown, *SECRET_FIELDS])
            raise UsageError(f"a connection has no field {field!r}", f"it has: {known}")
        return {"value": shown[field]}
    if field not in masked_secrets(found):
        raise CredentialMissing(f"{found} has no {field}")
    if not show_secret:
        return {"value": MASK}
    withheld_inside_runs(request, *found.key, field)
    house.approvals.check(pid, *found.key, field, approval)
    credential = found.credential if field == "refresh_token" else await house.broker.fresh(found)
    value = getattr(credential, field)
    if value is None:
        raise CredentialMissing(f"{found} has no {field}")
    house.broker.handed_out(found, f"get {field}", processes.described(pid))
    return {"value": value.reveal()}


@router.post("/connections/{provider}/logout", dependencies=OWNER_ONLY)
async def logout(provider: str, body: NameBody, house: Here) -> dict[str, object]:
    """Revoke as far as possible, then delete."""
    farewell = await house.broker.logout(provider, body.connection)
    await house.workers.settled()
    left = house.broker.of_provider(provider)
    return {
        "connection": farewell.connection,
        "revoked": farewell.revoked,
        "detail": farewell.detail,
        "left": [c.name for c in left],
        "default": next((c.name for c in left if c.is_default), None),
    }


@router.post("/connections/{provider}/default", dependencies=OWNER_ONLY)
async def set_default(provider: str, body: NameBody, house: Here) -> dict[str, object]:
    """Choose the default."""
    if body.connection is None:
        raise UsageError("name the connection")
    return connection_json(await house.broker.set_default(provider, body.connection))


@router.post("/exports")
async def export(request: Request, body: ExportBody, house: Here, pid: Pid) -> dict[str, object]:
    """Fresh credentials as variables; what cannot be exported is named with its reason. Owner only."""
    withheld_inside_runs(request, *_named(house, body), "export")
    if body.provider is not None:
        return {"variables": await _export(house, pid, body.provider, body), "skipped": []}
    variables: list[dict[str, str]] = []
    skipped: list[dict[str, str]] = []
    providers = list(dict.fromkeys(c.provider for c in house.broker.lender.connections()))
    if not providers:
        raise ConnectionNotFound("nothing is connected", "log in first: authsome login PROVIDER")
    for provider in providers:
        if house.approvals.may_ask(provider):
            reason = f"it takes your approval: authsome export {provider}"
            skipped.append({"provider": provider, "connection": "", "reason": reason})
            continue
        try:
            variables += await _export(house, pid, provider, body)
        except AuthsomeError as error:
            skipped.append({"provider": provider, "connection": body.connection or "", "reason": error.message})
    return {"variables": variables, "skipped": skipped}


def _named(house: House, body: ExportBody) -> tuple[str, str]:
    """What is asked for, as the audit names it: nothing there that is not connected, it could be any text."""
    if body.provider is None:
        return ANY, ANY
    try:
        return house.broker.resolve(body.provider, body.connection).key
    except AuthsomeError:
        return (body.provider if house.broker.of_provider(body.provider) else ANY), ANY


async def _export(house: House, pid: int, provider: str, body: ExportBody) -> list[dict[str, str]]:
    found = house.broker.resolve(provider, body.connection)
    house.approvals.check(pid, *found.key, "export", body.approval)
    return [_shown(v) for v in await house.broker.export(provider, found.name, processes.described(pid))]


def _shown(variable: Variable) -> dict[str, str]:
    return {
        "name": variable.name,
        "value": variable.value.reveal(),
        "provider": variable.provider,
        "connection": variable.connection,
    }
