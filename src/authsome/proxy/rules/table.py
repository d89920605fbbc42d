"""`RouteTable`: which connections may be lent to which destination, looked up without a search."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from authsome.model.authority import Authority
from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    Injection,
    PathInjection,
    QueryInjection,
)
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.route import WILDCARD, Route
from authsome.proxy.rules.placeholders import Placeholders
from authsome.proxy.rules.target import BadTarget, parse_absolute

_MOST_SEEN = 1024


@dataclass(frozen=True, slots=True)
class Lendable:
    """One connection as the rules see it; it holds no secret.

    `usable` is false while the connection is expired or needs a login. `placeholder` is what the
    child's variable holds. `credential_headers` names headers in which clients of this provider
    are known to send a credential, beyond those of `injections`. Without `scrub` its answers are not searched for
    it. Tokens in the answers of `token_url` are new ones, which the child may not have either. `since` is when the
    login was, in seconds since the epoch.
    """

    provider: str
    connection: str
    is_default: bool
    usable: bool
    routes: tuple[Route, ...]
    injections: tuple[Injection, ...]
    placeholder: str = PLACEHOLDER
    login_url: str | None = None
    credential_headers: tuple[str, ...] = ()
    scrub: bool = True
    token_url: str | None = None
    since: float = 0.0

    def is_as_before(self, other: "Lendable") -> bool:
        """Whether it is the same login, whose credential goes to the same places in the same way."""
        return _pinned(self) == _pinned(other)


def _pinned(each: Lendable) -> tuple[object, ...]:
    return each.provider, each.connection, each.since, each.routes, each.injections


class Places(NamedTuple):
    """Where a provider's credentials stand in the head of a request.

    Names of headers, in lower case, and of query parameters; what a path segment begins with.
    """

    headers: frozenset[bytes]
    parameters: frozenset[str]
    segments: frozenset[str] = frozenset()


class Clash(NamedTuple):
    """Routes that connections of several providers have alike: `decide` refuses requests there as ambiguous."""

    providers: tuple[str, ...]
    routes: tuple[Route, ...]

    def __str__(self) -> str:
        names = " and ".join([", ".join(self.providers[:-1]), self.providers[-1]])
        return f"{names} {'both' if len(self.providers) == 2 else 'all'} claim {', '.join(map(str, self.routes))}"


class Claim(NamedTuple):
    """One route of one connection."""

    route: Route
    lendable: Lendable


NOWHERE = Places(frozenset(), frozenset())


class RouteTable:
    """Every connection that can be lent. It never changes: a new one takes its place."""

    __slots__ = ("_exact", "_patterns", "_places", "_seen", "_token_urls", "_wild", "lendables", "placeholders")

    def __init__(self, lendables: Iterable[Lendable] = ()) -> None:
        self.lendables = tuple(lendables)
        self._exact: dict[str, tuple[Claim, ...]] = {}
        self._wild: dict[str, tuple[Claim, ...]] = {}
        self._patterns: list[Claim] = []
        self._seen: dict[str, tuple[Claim, ...]] = {}
        for lendable in self.lendables:
            for route in lendable.routes:
                claim = Claim(route, lendable)
                if route.is_exact:
                    self._exact[route.host] = (*self._exact.get(route.host, ()), claim)
                elif route.host.startswith(WILDCARD):
                    domain = route.host[len(WILDCARD) :]
                    self._wild[domain] = (*self._wild.get(domain, ()), claim)
                else:
                    self._patterns.append(claim)
        self._places = _places(self.lendables)
        self._token_urls = {place for each in self.lendables if (place := _place_of(each.token_url))}
        owners: dict[str, frozenset[str]] = {}
        for each in self.lendables:
            owners[each.placeholder] = owners.get(each.placeholder, frozenset()) | {each.provider}
        self.placeholders = Placeholders(owners)

    def claims(self, host: str) -> tuple[Claim, ...]:
        """The routes that name this host, exactly, by a wildcard or by a pattern, whatever their port and path."""
        exact = self._exact.get(host, ())
        wild = self._wild.get(host.partition(".")[2]) if self._wild else None
        found = exact if wild is None else exact + wild
        return found + self._matching(host) if self._patterns else found

    def _matching(self, host: str) -> tuple[Claim, ...]:
        """The patterns that match a host; matching is linear in the host (P17), and not done at each request."""
        found = self._seen.get(host)
        if found is None:
            found = tuple(c for c in self._patterns if c.route.covers_host(Authority(host, c.route.port)))
            if len(self._seen) < _MOST_SEEN:
                self._seen[host] = found
        return found

    def covering(self, authority: Authority, path: str) -> tuple[Claim, ...]:
        """The routes of host, port and normalised path; the most specific first."""
        port = authority.port
        found = [c for c in self.claims(authority.host) if c.route.port == port and c.route.covers_path(path)]
        if len(found) > 1:
            found.sort(key=_rank, reverse=True)
        return tuple(found)

    def clashes(self) -> tuple[Clash, ...]:
        """What cannot be told apart: of the routes that cover a request, equal ones have the same rank.

        Host patterns that differ can overlap too; that only a request shows.
        """
        claimed: dict[Route, set[str]] = {}
        for lendable in self.lendables:
            for route in lendable.routes:
                claimed.setdefault(route, set()).add(lendable.provider)
        found: dict[tuple[str, ...], list[Route]] = {}
        for route, providers in claimed.items():
            if len(providers) > 1:
                found.setdefault(tuple(sorted(providers)), []).append(route)
        return tuple(Clash(providers, tuple(routes)) for providers, routes in found.items())

    def connections(self, provider: str) -> tuple[Lendable, ...]:
        """Every connection of a provider."""
        return tuple(each for each in self.lendables if each.provider == provider)

    def hands_out_tokens(self, host: str, path: str) -> bool:
        """Whether tokens are answered there, by an authorization server of one of the connections."""
        return bool(self._token_urls) and (host, _folded(path)) in self._token_urls

    def places(self, provider: str) -> Places:
        """Where the credentials of a provider may stand."""
        return self._places.get(provider, NOWHERE)


def _place_of(url: str | None) -> tuple[str, str] | None:
    """Host and normalised path of a URL."""
    if url is None:
        return None
    try:
        _, authority, target = parse_absolute(url)
    except BadTarget:
        return None
    return authority.host, _folded(target.path)


def _folded(path: str) -> str:
    """A path as a lenient server may read it: case, doubled and last slashes, and parameters do not count."""
    segments = (segment.partition(";")[0] for segment in path.lower().split("/"))
    return "/" + "/".join(segment for segment in segments if segment)


def _rank(claim: Claim) -> tuple[int, int]:
    return claim.route.rank


def _places(lendables: tuple[Lendable, ...]) -> dict[str, Places]:
    headers: dict[str, set[bytes]] = {}
    parameters: dict[str, set[str]] = {}
    segments: dict[str, set[str]] = {}
    for lendable in lendables:
        names = headers.setdefault(lendable.provider, {b"authorization"})
        for places in (parameters, segments):
            places.setdefault(lendable.provider, set())
        names.update(name.lower().encode() for name in lendable.credential_headers)
        for injection in lendable.injections:
            match injection:
                case HeaderInjection(name=name):
                    names.add(name.lower().encode())
                case QueryInjection(parameter=parameter):
                    parameters[lendable.provider].add(parameter)
                case PathInjection(prefix=prefix):
                    segments[lendable.provider].add(prefix)
                case BasicInjection() | BodyInjection() | FixedHeader():
                    pass  # Authorization is in the set already, a body is no head, a fixed header holds no secret
                case _:
                    assert_never(injection)
    return {
        name: Places(frozenset(headers[name]), frozenset(parameters[name]), frozenset(segments[name]))
        for name in headers
    }
