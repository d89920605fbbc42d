"""Questions for the owner: they end whether somebody answers or not, and a refusal leaves a trace."""

import asyncio
import os

import pytest

from authsome.daemon import processes
from authsome.daemon.approvals import PATIENCE, Approvals
from authsome.errors import ApprovalNeeded, NotAllowed
from authsome.model.event import Withheld

ME = os.getpid()
ASKED = (ME, "openai", "default", "api_key")


def asked(approvals: Approvals) -> str:
    with pytest.raises(ApprovalNeeded) as needed:
        approvals.check(*ASKED, None)
    return str(needed.value.details["approval"])


def test_a_question_that_nobody_answers_ends_and_is_not_asked_anew() -> None:
    told: list[Withheld] = []

    async def scenario() -> NotAllowed:
        approvals = Approvals({"openai": "ask"}, told.append, patience=0.01)
        question = asked(approvals)
        while True:
            try:
                approvals.check(*ASKED, question)
            except ApprovalNeeded:
                await asyncio.sleep(0.01)
            except NotAllowed as over:
                assert approvals.waiting() == []
                return over

    over = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert "nobody answered within" in over.message and over.hint is not None and "authsome approve" in over.hint
    assert over.exit_status == 4
    assert [(each.provider, each.connection, each.how) for each in told] == [("openai", "default", "get api_key")]
    assert "nobody answered" in told[0].why and told[0].caller == processes.described(ME)


def test_the_owner_has_two_minutes() -> None:
    told: list[Withheld] = []

    async def scenario() -> None:
        approvals = Approvals({"*": "ask"}, told.append)
        approvals._run_out(approvals._asked[asked(approvals)])

    asyncio.run(scenario())
    assert PATIENCE == 120
    assert told[0].why == "nobody answered within two minutes"


def test_a_question_that_was_forgotten_is_not_asked_anew() -> None:
    told: list[Withheld] = []

    async def scenario() -> None:
        with pytest.raises(NotAllowed, match="this question is over") as over:
            Approvals({"*": "ask"}, told.append).check(*ASKED, "0123")
        assert not isinstance(over.value, ApprovalNeeded)

    asyncio.run(scenario())
    assert [each.why for each in told] == ["the question is over"]


def test_a_yes_from_the_terminal_that_asks_is_not_taken_and_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "session", lambda _pid: (7, True))
    told: list[Withheld] = []

    async def scenario() -> None:
        approvals = Approvals({"*": "ask"}, told.append)
        question = asked(approvals)
        with pytest.raises(NotAllowed):
            approvals.answer(ME, question, granted=True)
        assert [each.id for each in approvals.waiting()] == [question]  # the owner can still answer

    asyncio.run(scenario())
    assert [each.why for each in told] == ["an approval came from the terminal that asks"]


def test_an_approval_for_something_else_is_not_taken_and_audited() -> None:
    told: list[Withheld] = []

    async def scenario() -> None:
        approvals = Approvals({"*": "ask"}, told.append)
        question = asked(approvals)
        with pytest.raises(NotAllowed, match="something else"):
            approvals.check(ME, "github", "default", "export", question)

    asyncio.run(scenario())
    assert [(each.provider, each.how, each.why) for each in told] == [
        ("github", "export", "the approval is for something else")
    ]
