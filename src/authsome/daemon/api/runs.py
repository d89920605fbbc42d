"""`/runs`: beginning a run for the calling process."""

from fastapi import APIRouter
from pydantic import Field

from authsome.daemon.api.callers import OWNER_ONLY, Here, Pid
from authsome.daemon.api.shapes import Body
from authsome.daemon.authority import renew
from authsome.daemon.house import House
from authsome.daemon.runs import RunWish
from authsome.model.connection import Connection
from authsome.model.placeholder import PLACEHOLDER

router = APIRouter()


class RunBody(Body):
    """What to run with. `roots` are files of CA certificates that the person's own tools trust."""

    command: str
    choices: dict[str, str] = Field(default_factory=dict)
    only: list[str] | None = None
    roots: list[str] = Field(default_factory=list, max_length=64)
    scrub: bool = True


@router.post("/runs", dependencies=OWNER_ONLY)
async def start(body: RunBody, house: Here, pid: Pid) -> dict[str, object]:
    """Begin a run: its token inside the proxy's address, its files, what its variables hold."""
    house.broker.lender.rebuild()  # provider files may have changed since
    for provider, name in body.choices.items():
        house.broker.resolve(provider, name)
    for provider in body.only or ():
        house.broker.resolve(provider, body.choices.get(provider) or _any(house, provider))
    wish = RunWish(
        pid=pid,
        command=body.command[:200],
        choices=body.choices,
        only=None if body.only is None else frozenset(body.only),
        roots=body.roots,
        scrub=body.scrub,
    )
    await renew(house.trust, house.store, house.workers.adopt)
    run, token, directory = await house.runs.start(wish, house.trust.bundle_pem)
    house.proxy.begin_run(run)
    house.workers.begin_run(run)
    await house.workers.settled()
    every = house.broker.lender.connections()
    lent = [c for c in every if wish.only is None or c.provider in wish.only]
    held = {name: value for c in lent for name, value in _placeholders(house, c).items()}
    return {
        "run": run.id,
        "proxy": f"http://run:{token.reveal()}@127.0.0.1:{house.proxy_port}",
        "directory": str(directory),
        "ca_bundle": str(directory / "ca.pem"),
        "placeholders": held,
        "withheld": sorted({name for c in every for name in _placeholders(house, c)} - set(held)),
        "hosts": sorted({route.netloc for c in lent for route in c.routes}),
        "private": [path for path in (house.settings.root_key_file,) if path],
    }


def _any(house: House, provider: str) -> str | None:
    there = house.broker.of_provider(provider)
    return there[0].name if len(there) > 1 else None


def _placeholders(house: House, connection: Connection) -> dict[str, str]:
    entry = house.catalog.entries().get(connection.provider)
    if entry is None:
        return {}
    is_key = connection.credential.api_key is not None
    held = entry.provider.placeholder or PLACEHOLDER
    return dict.fromkeys(entry.provider.variables(api_key=is_key), held)
