"""The daemon about itself: who it is, how it is, what happened, and its end."""

import os
import pwd
from typing import Annotated

from fastapi import APIRouter, Query

from authsome import __version__
from authsome.broker.record import to_json
from authsome.daemon.api.callers import OWNER_ONLY, Here, Pid
from authsome.daemon.doctor import examine

MOST_EVENTS = 1000
After = Annotated[int, Query(ge=0, le=2**53)]

router = APIRouter()


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
    most = max(1, min(limit, MOST_EVENTS))
    found = await house.store(lambda vault: vault.events(limit=most, after=after))
    return {"events": [to_json(number, event) for number, event in found]}


@router.post("/daemon/stop", dependencies=OWNER_ONLY)
async def stop(house: Here) -> dict[str, object]:
    """Ask for a graceful stop."""
    house.stopping.set()
    return {"ok": True}


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
