"""Whether a credential may be handed out in clear: always, never, or after a yes of the owner's, given elsewhere.

Each refusal is audited. The yes is given in a terminal that the asker has no part in: another session of the system,
with a terminal. That tells the owner from a program that answers its own question, not from one that attacks the
operating system.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from authsome.daemon import processes
from authsome.errors import ApprovalNeeded, NotAllowed, UsageError
from authsome.model.event import Event, Withheld

ANY = "*"
PATIENCE = 120.0  # seconds in which the owner can answer
_GOOD_FOR = 60.0  # and in which the asker has to come back for the answer
_MOST = 16


@dataclass(slots=True, kw_only=True)
class Asked:
    """One question. `until` is on the monotonic clock; `granted` is None until it is answered, `over` if it was not."""

    id: str
    provider: str
    connection: str
    what: str
    caller: str
    pid: int
    process_started: int | None
    session: int
    until: float
    granted: bool | None = None
    over: bool = False

    def to_json(self) -> dict[str, object]:
        """What the owner is shown."""
        return {
            "id": self.id,
            "provider": self.provider,
            "connection": self.connection,
            "what": self.what,
            "caller": self.caller,
            "pid": self.pid,
            "seconds": round(self.until - time.monotonic()),
        }


class Approvals:
    """The owner's policy, and the questions that wait. `policy` maps a provider, or `*`, to allow, ask or deny."""

    def __init__(
        self, policy: Mapping[str, str], record: Callable[[Event], object], *, patience: float = PATIENCE
    ) -> None:
        self._policy = policy
        self._record = record
        self._patience = patience
        self._asked: dict[str, Asked] = {}

    @property
    def policy(self) -> Mapping[str, str]:
        """What the owner has said."""
        return self._policy

    def may_ask(self, provider: str) -> bool:
        """Whether handing out takes a question first."""
        return (self._policy.get(provider) or self._policy.get(ANY)) == "ask"

    def check(self, pid: int, provider: str, connection: str, what: str, approval: str | None) -> None:
        """Whether this process may have this. Raises NotAllowed, or ApprovalNeeded with the question's id."""
        policy = self._policy.get(provider) or self._policy.get(ANY) or "allow"
        if policy == "allow":
            return
        if policy == "deny":
            self.withheld(provider, connection, what, "config.toml says deny", processes.described(pid))
            raise NotAllowed(
                f"credentials of {provider} are not handed out on this machine",
                f"its programs can use them: authsome run -- COMMAND; see [reveal] in config.toml for {provider}",
            )
        asked = self._ask(pid, provider, connection, what) if approval is None else self._asked.get(approval)
        if asked is None:
            self.withheld(provider, connection, what, "the question is over", processes.described(pid))
            raise NotAllowed("this question is over", "ask again")
        same = (asked.pid, asked.process_started, asked.provider, asked.connection, asked.what)
        if same != (pid, processes.started(pid), provider, connection, what):
            why = "the approval is for something else"
            self.withheld(provider, connection, what, why, processes.described(pid))
            raise NotAllowed("this approval is for something else")
        if asked.over:
            raise NotAllowed(
                f"nobody answered within {_span(self._patience)} whether {what} of {provider}/{connection} is shown",
                "ask again, and answer it in another terminal with: authsome approve",
            )
        if asked.granted is None:
            raise ApprovalNeeded(
                f"the owner has to approve that {what} of {provider}/{connection} is shown",
                "in another terminal: authsome approve",
                approval=asked.id,
            )
        del self._asked[asked.id]
        if not asked.granted:
            raise NotAllowed(f"the owner did not approve that {what} of {provider}/{connection} is shown")

    def waiting(self) -> list[Asked]:
        """The questions without an answer whose asker still waits, oldest first."""
        return [
            each
            for each in self._asked.values()
            if each.granted is None and not each.over and processes.started(each.pid) == each.process_started
        ]

    def answer(self, pid: int, question: str, *, granted: bool) -> Asked:
        """The owner's yes or no. Raises UsageError where nothing waits, NotAllowed for who may not answer."""
        asked = next((each for each in self.waiting() if each.id == question), None)
        if asked is None:
            raise UsageError("nothing of that id waits for an answer", "it may be over; see: authsome approve")
        session, terminal = processes.session(pid)
        if granted and (not terminal or session == asked.session):
            where = "the terminal that asks" if terminal else "a process without a terminal"
            self._not_taken(asked, where, pid)
            raise NotAllowed(
                "an approval is given in a terminal of its own",
                "open another terminal than the one that asks, and there: authsome approve",
            )
        asked.granted = granted
        if not granted:
            self.withheld(asked.provider, asked.connection, asked.what, "you said no", asked.caller)
        asyncio.get_running_loop().call_later(_GOOD_FOR, self._asked.pop, asked.id, None)
        return asked

    def refuse_yes(self, pid: int, where: str, question: str | None = None) -> None:
        """Audit that somebody who may not answer tried to: this question, or all that wait."""
        for each in self.waiting():
            if question in (None, each.id):
                self._not_taken(each, where, pid)

    def withheld(self, provider: str, connection: str, what: str, why: str, caller: str) -> None:
        """Audit that `what`, "export" or the name of a field, was asked for in clear and not handed out."""
        how = what if what == "export" else f"get {what}"
        self._record(
            Withheld(at=time.time(), provider=provider, connection=connection, how=how, why=why, caller=caller)
        )

    def _not_taken(self, asked: Asked, where: str, pid: int) -> None:
        why = f"an approval came from {where}"
        self.withheld(asked.provider, asked.connection, asked.what, why, processes.described(pid))

    def _run_out(self, asked: Asked) -> None:
        """The owner's time is over; the asker still learns of it."""
        if asked.granted is None:
            asked.over = True
            why = f"nobody answered within {_span(self._patience)}"
            self.withheld(asked.provider, asked.connection, asked.what, why, asked.caller)
            asyncio.get_running_loop().call_later(_GOOD_FOR, self._asked.pop, asked.id, None)

    def _ask(self, pid: int, provider: str, connection: str, what: str) -> Asked:
        if sum(not each.over for each in self._asked.values()) >= _MOST:
            self.withheld(provider, connection, what, "too many questions wait", processes.described(pid))
            raise NotAllowed("too many questions wait for the owner", "authsome approve")
        asked = Asked(
            id=secrets.token_hex(8),
            provider=provider,
            connection=connection,
            what=what,
            caller=processes.described(pid),
            pid=pid,
            process_started=processes.started(pid),
            session=processes.session(pid)[0],
            until=time.monotonic() + self._patience,
        )
        self._asked[asked.id] = asked
        asyncio.get_running_loop().call_later(self._patience, self._run_out, asked)
        return asked


def _span(seconds: float) -> str:
    return "two minutes" if seconds == PATIENCE else f"{seconds:g} s"
