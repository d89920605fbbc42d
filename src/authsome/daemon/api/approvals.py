"""`/approvals`: what waits for the owner's yes, and the answer to it."""

from fastapi import APIRouter, Depends, Request

from authsome.daemon.api.callers import Here, Pid, outside_runs
from authsome.daemon.api.shapes import Body
from authsome.errors import NotAllowed

router = APIRouter()


class AnswerBody(Body):
    """The owner's answer."""

    granted: bool


async def _outside_runs(request: Request, house: Here, pid: Pid) -> None:
    """As `outside_runs`; who tries to look or to answer from inside one is audited."""
    try:
        outside_runs(request)
    except NotAllowed:
        house.approvals.refuse_yes(pid, "inside a run", request.path_params.get("question"))
        raise


_OWNER_ONLY = [Depends(_outside_runs)]


@router.get("/approvals", dependencies=_OWNER_ONLY)
async def waiting(house: Here) -> dict[str, object]:
    """The questions without an answer."""
    return {"approvals": [asked.to_json() for asked in house.approvals.waiting()]}


@router.post("/approvals/{question}", dependencies=_OWNER_ONLY)
async def answer(question: str, body: AnswerBody, house: Here, pid: Pid) -> dict[str, object]:
    """Answer one."""
    return house.approvals.answer(pid, question, granted=body.granted).to_json() | {"granted": body.granted}
