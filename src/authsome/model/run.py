"""A `Run` is one `authsome run`: a process tree with a proxy token of its own."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`token_digest` is the SHA-256 of the 256-bit proxy token; the token itself is kept nowhere (P4).

    `pid` and `process_started` (clock ticks since boot) name one process beyond doubt.
    `only` limits the run to some providers; `choices` pins a connection per provider. Without `scrub` credentials
    are left in what servers answer.
    """

    id: str
    token_digest: bytes
    pid: int
    process_started: int
    command: str
    only: frozenset[str] | None = None
    choices: dict[str, str] = field(default_factory=dict)
    scrub: bool = True
    started_at: float = 0.0
    ended_at: float | None = None
