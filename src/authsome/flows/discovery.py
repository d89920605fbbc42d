"""Finding the authorization server of a provider: RFC 9728, then RFC 8414, then OpenID, then the file."""

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from authsome.errors import LoginFailed, Unreachable
from authsome.flows.documents import Document, origin, refuses
from authsome.flows.steps import Dialogue, Fetch, Fetched, Wish, ask
from authsome.model.route import is_loopback_url

_CHALLENGE = re.compile(r'(?:^|[\s,])(resource_metadata|scope)\s*=\s*(?:"([^"]{1,2000})"|([^\s,"]{1,2000}))', re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An authorization server as far as a client needs it; `resource` is None where none was announced."""

    issuer: str
    authorization_url: str
    token_url: str
    registration_url: str | None = None
    revocation_url: str | None = None
    auth_methods: tuple[str, ...] = ("client_secret_basic",)
    sends_iss: bool = False
    offers_offline_access: bool = False
    resource: str | None = None
    scopes: tuple[str, ...] | None = None
    owner_wrote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """What a protected resource says of itself (RFC 9728 §2)."""

    issuer: str | None
    resource: str | None
    scopes: tuple[str, ...] | None


def discover(wish: Wish) -> Dialogue[Server]:
    """The server to log in at. Raises LoginFailed, Unreachable."""
    oauth = wish.provider.oauth
    assert oauth is not None
    written = oauth.issuer and wish.fill(oauth.issuer)
    start = oauth.resource or _first_address(wish)
    found = _Resource(issuer=None, resource=None, scopes=None)
    if oauth.resource or not written:
        found = yield from _ask_resource(start)
    issuer = written or found.issuer or origin(start)
    local = is_loopback_url(issuer) and is_loopback_url(start)
    owner_wrote = bool(written) or origin(issuer) == origin(start) or local
    server = yield from _ask_issuer(issuer, named=bool(written or found.issuer), owner_wrote=owner_wrote)
    if server is None:
        server = from_file(wish)
    resource = None if oauth.resource is False else found.resource or (oauth.resource or None if found.issuer else None)
    return replace(server, resource=resource, scopes=found.scopes)


def _first_address(wish: Wish) -> str:
    """Where the API answers, for a file that names no resource: its first route that is one host."""
    for route in wish.provider.routes(wish.base_url):
        if route.is_exact:
            return f"https://{route}"
    raise LoginFailed(
        f"{wish.provider.name} names no host to start from", "add oauth.issuer or oauth.resource to its file"
    )


def from_file(wish: Wish) -> Server:
    """The server as the provider's file alone describes it.

    Clients are kept by issuer, so a file may speak for no issuer but the one where its tokens are fetched: it
    could else have another provider's client secret sent there, or plant a client of its own (O31).
    """
    oauth = wish.provider.oauth
    assert oauth is not None
    token_url = wish.fill(oauth.token_url)
    written = wish.fill(oauth.issuer) if oauth.issuer else origin(token_url)
    issuer = written if origin(written) == origin(token_url) else origin(token_url)
    registration = oauth.registration_endpoint and wish.fill(oauth.registration_endpoint)
    if registration and origin(registration) != origin(token_url):
        raise LoginFailed(f"registration_endpoint is at another origin than token_url ({origin(registration)})")
    method = oauth.token_auth_method
    return Server(
        issuer=issuer,
        authorization_url=wish.fill(oauth.authorization_url),
        token_url=token_url,
        registration_url=registration,
        revocation_url=oauth.revocation_url and wish.fill(oauth.revocation_url),
        auth_methods=(method,) if method else ("none", "client_secret_post"),
        resource=oauth.resource or None,
        owner_wrote=True,
    )


def _ask_resource(url: str) -> Dialogue[_Resource]:
    """RFC 9728: the challenge of a 401 first, then the two well-known places."""
    parts = urlsplit(url)
    base, path = origin(url), parts.path.rstrip("/")
    places = [f"{base}/.well-known/oauth-protected-resource{path}"]
    if path:
        places.append(f"{base}/.well-known/oauth-protected-resource")
    challenged: dict[str, str] = {}
    refused = yield from ask(Fetch(url=url, owner_wrote=True), Fetched)
    if refused.status == 401:
        for name, quoted, bare in _CHALLENGE.findall(refused.headers.get("www-authenticate", "")):
            challenged.setdefault(name.lower(), quoted or bare)
    announced = challenged.get("resource_metadata")
    if announced and origin(announced) == base and announced not in places:
        places.insert(0, announced)
    for place in places:
        answer = yield from ask(Fetch(url=place, owner_wrote=True, cacheable=True), Fetched)
        if answer.status != 200:
            continue
        document = Document.read(answer, place)
        named = document.need("resource")
        if not _covers(named, url):
            raise LoginFailed(f"{place}: resource is {named}, not {url}")
        servers = document.words("authorization_servers") or ()
        scopes = tuple(challenged["scope"].split()) if "scope" in challenged else document.words("scopes_supported")
        issuer = servers[0] if servers else None
        why = refuses(issuer, url) if issuer else None
        if why:
            raise LoginFailed(f"{place}: authorization_servers[0] {why}")
        return _Resource(issuer=issuer, resource=named, scopes=scopes)
    return _Resource(issuer=None, resource=None, scopes=None)


def _ask_issuer(issuer: str, *, named: bool, owner_wrote: bool) -> Dialogue[Server | None]:
    """RFC 8414 and OpenID documents of an issuer; None where it has none.

    An issuer that nobody named is a guess from the 2025-03-26 revision of MCP: its silence is no error.
    """
    parts = urlsplit(issuer)
    base, path = origin(issuer), parts.path.rstrip("/")
    places = [f"{base}/.well-known/oauth-authorization-server{path}", f"{base}/.well-known/openid-configuration{path}"]
    if path:
        places += [
            f"{base}{path}/.well-known/openid-configuration",
            f"{base}{path}/.well-known/oauth-authorization-server",
        ]
    for place in places:
        try:
            answer = yield from ask(Fetch(url=place, owner_wrote=owner_wrote, cacheable=True), Fetched)
        except Unreachable:
            if named:
                raise
            return None
        if answer.status == 200:
            return _read_metadata(Document.read(answer, place), issuer, place, owner_wrote=owner_wrote)
    return None


def _read_metadata(document: Document, asked: str, place: str, *, owner_wrote: bool) -> Server:
    issuer = document.need("issuer")
    if _slashed(issuer) != _slashed(asked):
        raise LoginFailed(f"{place}: issuer is {issuer}, not {asked}", "the document of another server is not used")
    challenges = document.words("code_challenge_methods_supported")
    if challenges is not None and "S256" not in challenges:
        raise LoginFailed(f"{place}: the server does not offer PKCE with S256")
    authorization_url = document.url("authorization_endpoint", near=asked)
    token_url = document.url("token_endpoint", near=asked)
    if authorization_url is None or token_url is None:
        raise LoginFailed(f"{place}: authorization_endpoint or token_endpoint is missing")
    registration_url = document.url("registration_endpoint", near=asked)
    if registration_url and origin(registration_url) != origin(asked):
        raise LoginFailed(f"{place}: registration_endpoint is at another origin ({origin(registration_url)})")
    return Server(
        issuer=issuer,
        authorization_url=authorization_url,
        token_url=token_url,
        registration_url=registration_url,
        revocation_url=document.url("revocation_endpoint", near=asked),
        auth_methods=document.words("token_endpoint_auth_methods_supported") or ("client_secret_basic",),
        sends_iss=document.flag("authorization_response_iss_parameter_supported"),
        offers_offline_access="offline_access" in (document.words("scopes_supported") or ()),
        owner_wrote=owner_wrote,
    )


def _covers(resource: str, url: str) -> bool:
    """RFC 9728 §3.3 asks for equality; real servers name a prefix of the same origin."""
    path, asked = urlsplit(resource).path.rstrip("/"), urlsplit(url).path.rstrip("/")
    return origin(resource) == origin(url) and (asked == path or asked.startswith(path + "/"))


def _slashed(url: str) -> str:
    """`https://host` and `https://host/` are one URL (RFC 3986 §6.2.3); nothing else is normalised."""
    return url if urlsplit(url).path else url + "/"
