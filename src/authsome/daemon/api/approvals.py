"""`/approvals`: what waits for the owner's yes, and the answer to it."""

from fastapi import APIRouter

from authsome.daemon.api.callers import OWNER_ONLY, Here, Pid
from authsome.daemon.api.shapes import Body

router = APIRouter()


class AnswerBody(Body):
    """The owner's answer."""

    granted: bool


@router.get("/approvals", dependencies=OWNER_ONLY)
async def waiting(house: Here) -> dict[str, object]:
    """The questions without an answer."""
    return {"approvals": [asked.to_json() for asked in house.approvals.waiting()]}


@router.post("/approvals/{question}", dependencies=OWNER_ONLY)
async def answer(question: str, body: AnswerBody, house: Here, pid: Pid) -> dict[str, object]:
    """Answer one."""
    return house.approvals.answer(pid, question, granted=body.granted).to_json() | {"granted": body.granted}
