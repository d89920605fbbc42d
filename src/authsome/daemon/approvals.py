"""Whether a credential may be handed out in clear: always, never, or after a yes of the owner's, given elsewhere.

The yes is given in a terminal that the asker has no part in: another session of the system, with a terminal. That
tells the owner from a program that answers its own question, not from one that attacks the operating system.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from authsome.daemon import processes
from authsome.errors import ApprovalNeeded, NotAllowed, UsageError

ANY = "*"
_ASKED_FOR = 120.0  # seconds in which the owner can answer
_GOOD_FOR = 60.0  # and in which the asker has to come back for what was granted
_MOST = 16


@dataclass(slots=True, kw_only=True)
class Asked:
    """One question. Times are those of the monotonic clock; `granted` is None until it is answered."""

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

    def __init__(self, policy: Mapping[str, str]) -> None:
        self._policy = policy
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
            raise NotAllowed(
                f"credentials of {provider} are not handed out on this machine",
                f"its programs can use them: authsome run -- COMMAND; see [reveal] in config.toml for {provider}",
            )
        now = time.monotonic()
        self._asked = {key: each for key, each in self._asked.items() if each.until > now}
        asked = self._asked.get(approval or "")
        if asked is None:
            asked = self._ask(pid, provider, connection, what, now)
        same = (asked.pid, asked.process_started, asked.provider, asked.connection, asked.what)
        if same != (pid, processes.started(pid), provider, connection, what):
            raise NotAllowed("this approval is for something else")
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
        now = time.monotonic()
        return [
            each
            for each in self._asked.values()
            if each.granted is None and each.until > now and processes.started(each.pid) == each.process_started
        ]

    def answer(self, pid: int, question: str, *, granted: bool) -> Asked:
        """The owner's yes or no. Raises UsageError where nothing waits, NotAllowed for who may not answer."""
        asked = next((each for each in self.waiting() if each.id == question), None)
        if asked is None:
            raise UsageError("nothing of that id waits for an answer", "it may be over; see: authsome approve")
        session, terminal = processes.session(pid)
        if granted and (not terminal or session == asked.session):
            raise NotAllowed(
                "an approval is given in a terminal of its own",
                "open another terminal than the one that asks, and there: authsome approve",
            )
        asked.granted = granted
        asked.until = time.monotonic() + _GOOD_FOR
        return asked

    def _ask(self, pid: int, provider: str, connection: str, what: str, now: float) -> Asked:
        if len(self._asked) >= _MOST:
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
            until=now + _ASKED_FOR,
        )
        self._asked[asked.id] = asked
        return asked
