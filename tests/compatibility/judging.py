"""From what happened to a client to what the table says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parts.fakenet import SIDE_DOOR, Entry

from compatibility.table import MEANINGS, Client, Kind, Outcome

PLACEHOLDERS = ("authsome-proxy-managed", "authsome_proxy_managed")
_CERTIFICATE = re.compile(r"certificate.verif|self.signed certificate|unable to get .*issuer", re.IGNORECASE)
_VERSIONS = {"h1.0": "HTTP/1.0", "h1.1": "HTTP/1.1", "h2": "HTTP/2"}


@dataclass(frozen=True)
class Attempt:
    """What is known of one client's run: how it ended, what arrived, and where it began a TLS handshake by itself."""

    code: int
    errors: str
    entries: Sequence[Entry]
    greeted: Sequence[str]

    def __str__(self) -> str:
        verdict = {True: "accepted", False: "rejected"}
        arrived = [
            f"{entry.method} https://{entry.host}{entry.path} came to port {entry.port}, {verdict[entry.authorized]}"
            for entry in self.entries
        ]
        return "\n".join([f"exit status {self.code}", *arrived, self.errors[-2000:]])


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    client: Client
    version: str
    proxied: bool | None
    protocols: tuple[str, ...]
    outcome: Outcome
    isolated: Outcome

    @property
    def is_as_known(self) -> bool:
        """Whether the client fared as it is known to, in both runs."""
        return (self.outcome, self.isolated) == (self.client.expected, self.client.expected_isolated)

    def __str__(self) -> str:
        proxied = {True: "yes", False: "no", None: "unknown"}[self.proxied]
        protocols = ", ".join(_VERSIONS.get(each, each) for each in self.protocols) or "nothing arrived"
        cells = (self.client.title, self.version, proxied, protocols, str(self.outcome), str(self.isolated))
        return f"| {' | '.join(cells)} |"


def judge(client: Client, version: str, attempt: Attempt, isolated: Attempt) -> Row:
    """The row of a client, by its attempts in a plain run and in an isolated one.

    The proxy dials the hosts at their side door, so the port tells which way a request came.
    """
    protocols = tuple(sorted({entry.protocol for entry in attempt.entries}))
    confined = not isolated.greeted and all(entry.port == SIDE_DOOR for entry in isolated.entries)
    outcome = _outcome(isolated) if confined else Outcome.FAILS
    return Row(client, version, _is_proxied(attempt), protocols, _outcome(attempt), outcome)


def _is_proxied(attempt: Attempt) -> bool | None:
    if attempt.entries:
        return all(entry.port == SIDE_DOOR for entry in attempt.entries)
    if attempt.greeted:
        return False
    return True if _refused_certificate(attempt) else None


def _outcome(attempt: Attempt) -> Outcome:
    entries = attempt.entries
    if not entries:
        own_ca = not attempt.greeted and _refused_certificate(attempt)
        return Outcome.OWN_CA if own_ca else Outcome.FAILS
    rejected = attempt.code != 0 and not any(entry.authorized for entry in entries)
    if rejected and all(_is_signed(entry) for entry in entries):
        return Outcome.SIGNS
    if rejected and all(entry.port != SIDE_DOOR and _holds_placeholder(entry) for entry in entries):
        return Outcome.DIRECT
    served = all(entry.port == SIDE_DOOR and entry.authorized and not _holds_placeholder(entry) for entry in entries)
    return Outcome.WORKS if attempt.code == 0 and served else Outcome.FAILS


def _refused_certificate(attempt: Attempt) -> bool:
    return attempt.code != 0 and _CERTIFICATE.search(attempt.errors) is not None


def _is_signed(entry: Entry) -> bool:
    return any(value.startswith("AWS4-HMAC-SHA256 ") for value in entry.header("authorization"))


def _holds_placeholder(entry: Entry) -> bool:
    texts = [entry.path, entry.query, *(value for _, value in entry.headers)]
    return any(placeholder in text for placeholder in PLACEHOLDERS for text in texts)


_COLUMNS = (
    "client", "version", "through the proxy?", "HTTP version seen upstream", "result", "result under `--isolate`",
)  # fmt: skip
_HEAD = """\
# Compatibility

Which clients work under `authsome run`, each as it comes: beyond what its title says it was told nothing about how to
connect, and its environment held only what `run` sets.

This page is written by `make compatibility`. It installs the clients in the versions below, starts a private internet
that plays the hosts and rejects every request without the right credential, logs in to each provider with a key, and
lets every client make a call in a run of its own. The providers are the bundled ones; Google's tokens, git's password
and a store of objects, which no bundled one takes as a key, have a provider file as you would write it yourself
([providers](providers.md)). Each row is what happened: how the client ended, and what the host wrote down of the
requests that reached it. The command fails where a client fares other than is known of it.

A client that ignores the proxy variables reaches the real host with the placeholder, which the host rejects. Nothing
leaks by that, as the client never held a credential. `run --isolate` ([how](cli.md#isolated)) serves such clients too:
there every name leads to the proxy, and its certificates stand in the place of the files that clients read whatever the
variables name. Each client was run once more in that way, with nothing else told to it. The last column is what
happened then; what arrived past the proxy would count as a failure.
"""


def page(rows: Sequence[Row]) -> str:
    """docs/compatibility.md."""
    parts = [_HEAD]
    kinds: list[Kind] = ["Python", "Node", "Programs"]
    for kind in kinds:
        lines = [str(row) for row in rows if row.client.kind == kind]
        title = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
        parts.append("\n".join([f"## {kind}\n", title, *lines, ""]))
    seen = [outcome for outcome in Outcome if any(outcome in (row.outcome, row.isolated) for row in rows)]
    means = [f"| {outcome} | {MEANINGS[outcome]} |" for outcome in seen]
    parts.append("\n".join(["## Results\n", "| result | means |\n|---|---|", *means, ""]))
    return "\n".join(parts)
