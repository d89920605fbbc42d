"""The decision: what happens to a connection that a child asks for, and to each request on it (P1, P2, P3, P19)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from authsome.model.authority import Authority
from authsome.model.injection import BodyInjection, PathInjection
from authsome.model.names import CONNECTION
from authsome.proxy.rules.head import Field
from authsome.proxy.rules.placeholders import Found, Placeholders
from authsome.proxy.rules.table import Claim, Lendable, Places, RouteTable
from authsome.proxy.rules.target import Target

CHOICE_HEADER = b"x-authsome-connection"
GAP = "\0"  # stands in a path where the credential will; no path holds one


@dataclass(frozen=True, slots=True)
class Inject:
    """The credential of this connection goes on the request; what the child put in `places` does not.

    `path` has a gap for each placeholder in it. `placeholders` are those that the run may hold.
    """

    lendable: Lendable
    places: Places
    path: str
    placeholders: Placeholders


@dataclass(frozen=True, slots=True)
class Tunnel:
    """It goes on without a credential: a connection unread, a request as the child sent it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It goes nowhere. The child gets this status and code, and the message and hint as text."""

    status: int
    error: str
    message: str
    hint: str = ""
    login_url: str | None = None


@dataclass(frozen=True, slots=True)
class Intercept:
    """The connection is read, because requests on it may need a credential."""


Decision = Inject | Tunnel | Deny

INTERCEPT, TUNNEL = Intercept(), Tunnel()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run was promised: only these providers (None: all), these connections, the table it began with.

    `hosts` is there for an isolated run, which reaches nothing but the hosts of what is lent to it and these; each
    is a host, or `*.` and a domain for every host below it.
    """

    only: frozenset[str] | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    began: RouteTable = field(default_factory=RouteTable)
    hosts: frozenset[str] | None = None

    @property
    def isolated(self) -> bool:
        """Whether the run has no other way out."""
        return self.hosts is not None


class Request(NamedTuple):
    """A request as the rules see it. `text` is everything that the child wrote in its head."""

    method: str
    authority: Authority
    target: Target
    fields: list[Field]
    text: bytes


def decide_connect(table: RouteTable, terms: Terms, authority: Authority) -> Intercept | Tunnel | Deny:
    """What to do with a CONNECT. A host that was routed when the run began stays intercepted to its end."""
    if not may_reach(table, terms, authority.host):
        return _not_reached(authority.host)
    claims = table.claims(authority.host) + terms.began.claims(authority.host)
    if not claims:
        return TUNNEL
    if any(claim.route.port == authority.port for claim in claims):
        return INTERCEPT
    ports = ", ".join(str(port) for port in sorted({claim.route.port for claim in claims}))
    return Deny(
        403,
        "port_not_routed",
        f"{authority.host} belongs to the provider {claims[0].lendable.provider}, but port {authority.port} does not",
        f"use port {ports}",
    )


def decide_plain(table: RouteTable, terms: Terms, request: Request) -> Tunnel | Deny:
    """What to do with a request in clear text, which never carries a credential (P1, X09)."""
    host = request.authority.host
    if not may_reach(table, terms, host):
        return _not_reached(host)
    claims = table.claims(host) or terms.began.claims(host)
    if claims:
        return Deny(
            403,
            "https_required",
            f"{host} belongs to the provider {claims[0].lendable.provider}, whose credential leaves over https only",
            f"use https://{host}",
        )
    return _untouched(known_placeholders(table, terms), request)


def may_reach(table: RouteTable, terms: Terms, host: str) -> bool:
    """Whether a run may have anything to do with a host at all."""
    if terms.hosts is None or host in terms.hosts:
        return True
    claims = table.claims(host) + terms.began.claims(host)
    if any(terms.only is None or claim.lendable.provider in terms.only for claim in claims):
        return True
    labels = host.split(".")
    return any("*." + ".".join(labels[at:]) in terms.hosts for at in range(1, len(labels)))


def _not_reached(host: str) -> Deny:
    return Deny(
        403,
        "host_not_allowed",
        f"{host} is not among the hosts that this isolated run may reach",
        f"the owner starts it with --allow-host {host}",
    )


def decide(table: RouteTable, terms: Terms, request: Request) -> Decision:
    """What to do with a request on an intercepted connection. Its authority is the one of the CONNECT."""
    covering = table.covering(request.authority, request.target.path)
    allowed = covering if terms.only is None else tuple(c for c in covering if c.lendable.provider in terms.only)
    if not allowed:
        gone = _gone(table, terms, request)
        if gone is not None:
            return gone
        untouched = _untouched(known_placeholders(table, terms), request)
        return _not_lent(covering[0]) if covering and isinstance(untouched, Deny) else untouched
    first = allowed[0]
    for other in allowed[1:]:
        if other.lendable.provider != first.lendable.provider and other.route.rank == first.route.rank:
            return _ambiguous(first, other)
    provider = first.lendable.provider
    places = table.places(provider)
    placeholders = known_placeholders(table, terms)
    named = _named_connection(placeholders, request, provider, places)
    if isinstance(named, Deny):
        return named
    candidates = tuple(c.lendable for c in allowed if c.lendable.provider == provider)
    chosen = _choose(table, terms, provider, candidates, named)
    if isinstance(chosen, Deny):
        return chosen
    path = request.target.path
    if places.segments:
        own = frozenset(each.prefix for each in chosen.injections if isinstance(each, PathInjection))
        path, standing = split_path(path, own, placeholders)
        if _in_target(placeholders, path):
            return misplaced(f"a placeholder where the credential of {provider}/{chosen.connection} does not go")
        if own and not standing and not any(isinstance(each, BodyInjection) for each in chosen.injections):
            return _untouched(placeholders, request)  # nothing in a place of its own asks for the credential
    if not chosen.usable:
        return _needs_login(provider, chosen.connection, chosen.login_url)
    return Inject(chosen, places, path, placeholders)


def known_placeholders(table: RouteTable, terms: Terms) -> Placeholders:
    """The placeholders that the run may hold: those of now, and those that it began with."""
    now, began = table.placeholders, terms.began.placeholders
    return now if began.texts <= now.texts else now | began


def _gone(table: RouteTable, terms: Terms, request: Request) -> Deny | None:
    """The refusal where the run began with a connection for this destination that has been logged out since."""
    for claim in terms.began.covering(request.authority, request.target.path):
        provider = claim.lendable.provider
        if (terms.only is None or provider in terms.only) and not table.connections(provider):
            return _needs_login(provider, claim.lendable.connection, claim.lendable.login_url)
    return None


def _not_lent(claim: Claim) -> Deny:
    provider = claim.lendable.provider
    return Deny(
        403,
        "not_allowed",
        f"{provider} is not lent to this run",
        f"the owner starts it without --only, or with {provider} among its providers",
    )


def _ambiguous(one: Claim, other: Claim) -> Deny:
    names = sorted((one.lendable.provider, other.lendable.provider))
    return Deny(
        409,
        "ambiguous_provider",
        f"the providers {names[0]} and {names[1]} both claim {one.route}",
        f"start the run with --only {names[0]} or --only {names[1]}, or log out of one of them",
    )


def _choose(
    table: RouteTable, terms: Terms, provider: str, candidates: tuple[Lendable, ...], named: str
) -> Lendable | Deny:
    """The connection: the run's choice, else the one that the request names, else the default, else the only one."""
    pinned = terms.choices.get(provider, "")
    if pinned and named and named != pinned:
        return Deny(
            403,
            "not_allowed",
            f"this run uses {provider}/{pinned}; the request asks for {provider}/{named}",
            f"start it with: authsome run --connection {provider}={named}",
        )
    wanted = pinned or named
    unique = {each.connection: each for each in candidates}
    if wanted:
        return unique.get(wanted) or _unknown_connection(table, terms, provider, wanted)
    for each in unique.values():
        if each.is_default:
            return each
    if len(unique) == 1:
        return candidates[0]
    names = ", ".join(sorted(unique))
    return Deny(
        409,
        "connection_choice_needed",
        f"{provider} has several connections and no default: {names}",
        f"send the header X-Authsome-Connection, or run: authsome set-default {provider} NAME",
    )


def _unknown_connection(table: RouteTable, terms: Terms, provider: str, name: str) -> Deny:
    held = {each.connection: each for each in table.connections(provider)}
    if name in held:
        return Deny(
            403,
            "not_allowed",
            f"{provider}/{name} is not for this destination",
            f"see: authsome get {provider} --connection {name}",
        )
    for each in terms.began.connections(provider):
        if each.connection == name:
            return _needs_login(provider, name, each.login_url)
    return Deny(
        403,
        "connection_not_found",
        f"{provider} has no connection {name}",
        f"connections of {provider}: {', '.join(sorted(held))}",
    )


def _needs_login(provider: str, connection: str, login_url: str | None) -> Deny:
    option = "" if connection == "default" else f" --connection {connection}"
    return Deny(
        401,
        "needs_login",
        f"{provider}/{connection} is not logged in",
        f"ask the owner to run: authsome login {provider}{option}",
        login_url,
    )


def _named_connection(placeholders: Placeholders, request: Request, provider: str, places: Places) -> str | Deny:
    """The connection that the request names, "" for none; a refusal where a placeholder has no business (P3)."""
    names: set[str] = set()
    found: list[Found] = []
    replaced = 0
    for field_name, _, value in request.fields:
        if field_name in places.headers:
            replaced += placeholders.count(value)
            found += placeholders.find_in_credential(value)
        elif field_name == CHOICE_HEADER:
            names.add(value.decode("latin-1"))
    query = request.target.query
    if query and places.parameters:
        query, taken = split_query(query, places.parameters)
        for part in taken:
            replaced += placeholders.count(part.encode())
            found += placeholders.find(unquote_to_bytes(part.replace("+", " ")))
    path, standing = request.target.path, list[Found]()
    if places.segments:
        path, standing = split_path(path, places.segments, placeholders)
    found += standing
    for each in found:
        if not each.stands_for(provider):
            return misplaced(f"a placeholder that does not stand for {provider}")
        if each.connection:
            names.add(each.connection)
    if standing:  # a path is normalised: how often one stood in it as it was written is not known
        strays = _stray_in_fields(placeholders, request, places)
    else:
        strays = placeholders.count(request.text) - replaced
    if strays or _in_target(placeholders, path + query):
        return misplaced(f"a placeholder where the credential of {provider} does not go")
    if len(names) > 1:
        return Deny(400, "connection_conflict", "the request names more than one connection")
    name = next(iter(names), "")
    if name and not CONNECTION.match(name):
        return Deny(400, "connection_conflict", "X-Authsome-Connection is not the name of a connection")
    return name


def _stray_in_fields(placeholders: Placeholders, request: Request, places: Places) -> int:
    """How many placeholders stand in fields that are passed on."""
    names = sum(placeholders.count(sent) for _, sent, _ in request.fields)
    return names + sum(placeholders.count(value) for name, _, value in request.fields if name not in places.headers)


def _untouched(placeholders: Placeholders, request: Request) -> Tunnel | Deny:
    """A request without a credential goes on, unless it carries a placeholder (P3)."""
    if (
        placeholders.count(request.text)
        or _in_target(placeholders, str(request.target))
        or any(placeholders.find_in_credential(f[2]) for f in request.fields if f[0] == b"authorization")
    ):
        return misplaced(f"a placeholder, but no credential goes to {request.authority.host}{request.target.path}")
    return TUNNEL


def _in_target(placeholders: Placeholders, target: str) -> bool:
    """Whether a placeholder stands in what is left of a target, percent-encoded or not."""
    return placeholders.count(unquote_to_bytes(target) if "%" in target else target.encode()) > 0


def misplaced(what: str) -> Deny:
    """The refusal of a request with a placeholder that has no business where it stands (P3)."""
    return Deny(
        403,
        "placeholder_refused",
        f"the request carries {what}",
        "put it where the provider's own client puts the credential, and send it to the provider's own host",
    )


def split_path(path: str, segments: frozenset[str], placeholders: Placeholders) -> tuple[str, list[Found]]:
    """A path with a gap for each placeholder that is the rest of such a segment, and these placeholders."""
    found: list[Found] = []
    parts = path.split("/")
    for at, part in enumerate(parts):
        for prefix in segments:
            there = placeholders.whole(unquote_to_bytes(part[len(prefix) :])) if part.startswith(prefix) else None
            if there is not None:
                parts[at] = prefix + GAP
                found.append(there)
                break
    return "/".join(parts), found


def split_query(query: str, parameters: frozenset[str]) -> tuple[str, list[str]]:
    """A query (with its `?`) without these parameters, and the parts that were taken out."""
    kept: list[str] = []
    taken: list[str] = []
    for part in query[1:].split("&"):
        name = unquote_to_bytes(part.partition("=")[0].replace("+", " "))
        (taken if name.decode("utf-8", "replace") in parameters else kept).append(part)
    return ("?" + "&".join(kept) if kept and kept != [""] else ""), taken
