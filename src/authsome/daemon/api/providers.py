"""`/providers`: the catalogue, its files, and what is connected to them."""

import json
import time

from fastapi import APIRouter

from authsome.catalog.reader import write_provider
from authsome.daemon.api.callers import OWNER_ONLY, Here
from authsome.daemon.api.shapes import Body, connection_json
from authsome.model.event import ProviderChanged

router = APIRouter(prefix="/providers")


class FileBody(Body):
    """A provider file to install."""

    text: str
    force: bool = False


@router.get("")
async def all_of_them(house: Here) -> dict[str, object]:
    """Every provider with its connections, and the files that could not be read."""
    shown: list[dict[str, object]] = []
    entries = house.catalog.entries()
    by_provider: dict[str, list[dict[str, object]]] = {}
    for connection in house.broker.lender.connections():
        by_provider.setdefault(connection.provider, []).append(connection_json(connection))
    for name, entry in entries.items():
        provider = entry.provider
        shown.append(
            {
                "name": name,
                "display_name": provider.display_name,
                "source": entry.source.value,
                "auth_type": provider.auth_type,
                "flow": provider.flow,
                "connections": by_provider.pop(name, []),
            }
        )
    for name, orphans in by_provider.items():  # their file is gone: they can only be logged out
        shown.append(
            {
                "name": name,
                "display_name": name,
                "source": "missing",
                "auth_type": orphans[0]["auth_type"],
                "flow": orphans[0]["flow"],
                "connections": orphans,
            }
        )
    problems = [{"path": bad.path, "message": bad.message} for bad in house.catalog.problems()]
    problems += [
        {"path": f"{provider}/{name}", "message": message}
        for (provider, name), message in house.broker.lender.damaged.items()
    ]
    return {"providers": shown, "problems": problems}


@router.get("/{name}")
async def show(name: str, house: Here) -> dict[str, object]:
    """One definition, as JSON and as the text of a valid file."""
    entry = house.catalog.get(name)
    text = write_provider(entry.provider)
    return {"source": entry.source.value, "definition": json.loads(text), "text": text}


@router.post("", dependencies=OWNER_ONLY)
async def install(body: FileBody, house: Here) -> dict[str, object]:
    """Validate a file and install it as a custom one."""
    entry = house.catalog.install(body.text, force=body.force)
    _changed(house, entry.provider.name, "registered")
    return {"name": entry.provider.name, "source": entry.source.value}


@router.delete("/{name}", dependencies=OWNER_ONLY)
async def remove(name: str, house: Here) -> dict[str, object]:
    """Remove a custom definition; the bundled one, where there is one, is in force again.

    Without one its connections are `idle`: kept, but lent to nobody.
    """
    left = house.catalog.remove(name)
    _changed(house, name, "removed")
    idle = [] if left else [c.name for c in house.broker.of_provider(name)]
    return {"name": name, "now": left.source.value if left else None, "idle": idle}


@router.post("/{name}/revoke", dependencies=OWNER_ONLY)
async def revoke(name: str, house: Here) -> dict[str, object]:
    """Log every connection out and give the client registration up."""
    farewells, deleted, detail = await house.broker.revoke(name)
    await house.workers.settled()
    return {
        "connections": [{"connection": f.connection, "revoked": f.revoked, "detail": f.detail} for f in farewells],
        "client": {"deleted": deleted, "detail": detail},
    }


def _changed(house: Here, name: str, how: str) -> None:
    house.broker.lender.rebuild()
    house.recorder.record(ProviderChanged(at=time.time(), provider=name, how=how))
