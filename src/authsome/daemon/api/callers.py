"""Who calls on the Unix socket: the owner, or a program inside one of the owner's runs."""

from typing import Annotated

from fastapi import Depends, Request

from authsome.daemon import processes
from authsome.daemon.house import House
from authsome.errors import NotAllowed


def house_of(request: Request) -> House:
    """The house that this application serves."""
    house = request.app.state.house
    assert isinstance(house, House)
    return house


def pid_of(request: Request) -> int:
    """The calling process, as the kernel names it; 0 for one that is gone, even if its number is another's now."""
    if request.client is None or str(processes.started(request.client.port)) != request.client.host:
        return 0
    return request.client.port


def run_around(request: Request) -> str | None:
    """The run in which the caller stands, or None for the owner."""
    return house_of(request).runs.around(pid_of(request))


def outside_runs(request: Request) -> None:
    """Level B: what hands out, changes or extends anything is not for programs inside a run. Raises NotAllowed."""
    run = run_around(request)
    if run is not None:
        raise NotAllowed("this is not allowed inside a run", "the owner can do it in a terminal of their own", run=run)


def withheld_inside_runs(request: Request, provider: str, connection: str, what: str) -> None:
    """As `outside_runs`, for what shows a credential in clear: the attempt is audited."""
    try:
        outside_runs(request)
    except NotAllowed:
        caller = processes.described(pid_of(request))
        house_of(request).approvals.withheld(provider, connection, what, "asked from inside a run", caller)
        raise


Here = Annotated[House, Depends(house_of)]
Pid = Annotated[int, Depends(pid_of)]
OWNER_ONLY = [Depends(outside_runs)]
