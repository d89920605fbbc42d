"""The daemon about itself: who it is, how it is, what happened, and its end."""

import asyncio
import os
import pwd
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from authsome import __version__
from authsome.broker.record import to_json
from authsome.daemon.api.callers import OWNER_ONLY, Here, Pid
from authsome.daemon.api.shapes import Body
from authsome.daemon.doctor import examine
from authsome.daemon.ports import check_free

MOST_EVENTS = 1000
After = Annotated[int, Query(ge=0, le=2**53)]

router = APIRouter()


Port = Annotated[int, Field(ge=0, le=65535)]


class StopBody(Body):
    """What the daemon that is to take this one's place will listen on; 0 for what can always be had."""

    host: Literal["127.0.0.1", "localhost", "::1"] = "127.0.0.1"
    port: Port = 0
    proxy_port: Port = 0


@router.get("/health")
async def health(house: Here) -> dict[str, object]:
    """Alive."""
    return {"ok": True, "version": __version__, "pid": os.getpid(), "workers": house.settings.workers}


@router.get("/whoami")
async def whoami(house: Here, pid: Pid) -> dict[str, object]:
    """Owner, home, ports, where the root key is, and whether the caller stands inside a run."""
    return {
        "owner": _login_name(),
        "home": house.settings.home,
        "pid": os.getpid(),
        "version": __version__,
        "started_at": house.started_at,
        "port": house.settings.port,
        "proxy_port": house.proxy_port,
        "root_key": house.store.vault.key_source.value,
        "vault": str(house.store.vault.path),
        "run": house.runs.around(pid),
    }


@router.get("/doctor")
async def doctor(house: Here) -> dict[str, object]:
    """Every check, good or bad."""
    return {"checks": [check.to_json() for check in await examine(house)]}


@router.get("/events", dependencies=OWNER_ONLY)
async def events(house: Here, limit: int = 50, after: After = 0) -> dict[str, object]:
    """The newest events in order, or those after a number."""
    await house.workers.settled()
    await house.recorder.flush()
    most = max(0, min(limit, MOST_EVENTS))
    found = await house.store(lambda vault: vault.events(limit=most, after=after))
    return {"events": [to_json(number, event) for number, event in found]}


@router.post("/daemon/stop", dependencies=OWNER_ONLY)
async def stop(house: Here, body: StopBody | None = None) -> dict[str, object]:
    """Ask for a graceful stop. Raises PortTaken, and goes on, where the next daemon could not have its ports."""
    if body is not None:
        ours = {0, house.settings.port, house.proxy_port}
        for port, host, variable in (
            (body.port, body.host, "AUTHSOME_PORT"),
            (body.proxy_port, "127.0.0.1", "AUTHSOME_PROXY_PORT"),
        ):
            if port not in ours:
                await asyncio.to_thread(check_free, host, port, variable=variable)
    house.stopping.set()
    return {"ok": True}


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
