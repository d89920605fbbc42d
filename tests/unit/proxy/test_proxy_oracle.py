"""The decision, written a second time and simply: whatever is asked, both say the same, and what is sent is that."""

import base64
import json
import string
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from hypothesis import event, given, settings
from hypothesis import strategies as st

from authsome.model.authority import Authority
from authsome.model.injection import BodyInjection, HeaderInjection, Injection, PathInjection, QueryInjection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.route import Route
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import Deny, Inject, Request, Terms, Tunnel, decide, decide_plain
from authsome.proxy.rules.framing import RequestFraming, frame_request
from authsome.proxy.rules.head import RequestReader
from authsome.proxy.rules.inject import outline, plain_head
from authsome.proxy.rules.substitute import substitution_of
from authsome.proxy.rules.table import Lendable, RouteTable
from authsome.proxy.rules.target import BadTarget, parse_origin

CREDENTIAL = "the-credential"
HOSTS = ["api.mock.test", "b.mock.test", "mock.test", "evil.test", "a.b.mock.test", "192.0.2.1"]
ROUTES = ["api.mock.test", "api.mock.test/v1", "*.mock.test", "*.mock.test/v1", "192.0.2.1", "api.mock.test:8443"]
SHAPED = {"a": "sk-shaped-a", "b": "sk-shaped-b"}
PLACEHOLDERS = [PLACEHOLDER, f"{PLACEHOLDER}:work", "sk-shaped-a", "sk-shaped-b", f"{PLACEHOLDER}-", "own"]
# as sent, and as it is decided on; None where that is refused
PATHS = {
    "": "", "/v1": "/v1", "/v1/x": "/v1/x", "/v1x": "/v1x", "/v2": "/v2", "//v1": "//v1", "/v1/../v2": "/v2",
    "/V1": "/V1", "/v1/%2e%2e/x": None, "/v1%2fx": "/v1%2fx", "/v1%2f..%2fx": None, "/v1;a/../x": "/x",
    "/%76%31": "/v1",
}  # fmt: skip
ENDS = {
    "/": "/", f"/{PLACEHOLDER}": f"/{PLACEHOLDER}", "/bot%61uthsome-proxy-managed": f"/bot{PLACEHOLDER}",
    **{text: text for each in PLACEHOLDERS for text in (f"/bot{each}", f"/bot{each}/x", f"/key-{each}", f"/x{each}")},
}  # fmt: skip


@dataclass
class Asked:
    """A request as a child writes it."""

    authority: Authority
    path: str
    end: str
    query: tuple[str, str] | None
    fields: list[tuple[str, str]]
    content: dict[str, str]
    is_form: bool

    def body(self) -> bytes:
        return (urlencode(self.content) if self.is_form else json.dumps(self.content)).encode()

    def head(self) -> bytes:
        query = f"?{self.query[0]}={self.query[1]}" if self.query else ""
        kind = "application/x-www-form-urlencoded" if self.is_form else "application/json"
        fields = [*self.fields, ("Content-Type", kind), ("Content-Length", str(len(self.body())))]
        lines = [f"POST {self.path}{self.end}{query} HTTP/1.1", "Host: x", *(f"{n}: {v}" for n, v in fields), "", ""]
        return "\r\n".join(lines).encode()


injections: st.SearchStrategy[tuple[Injection, ...]] = st.sampled_from(
    [
        (HeaderInjection("Authorization"),),
        (HeaderInjection("X-Api-Key", ""), BodyInjection("token")),
        (QueryInjection("key"),),
        (PathInjection("bot"),),
        (PathInjection("key-"), BodyInjection("token")),
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    return RouteTable(
        Lendable(
            provider=provider,
            connection=connection,
            is_default=connection == "default",
            usable=draw(st.sampled_from([True, True, True, False])),
            routes=tuple(Route.parse(text) for text in draw(st.lists(st.sampled_from(ROUTES), min_size=1, max_size=2))),
            injections=draw(injections),
            placeholder=SHAPED.get(provider, PLACEHOLDER),
        )
        for provider in draw(st.lists(st.sampled_from("abc"), unique=True, max_size=2))
        for connection in draw(st.lists(st.sampled_from(["default", "work"]), unique=True, min_size=1))
    )


stood = st.sampled_from(PLACEHOLDERS)
texts = st.text(string.ascii_letters + string.digits + " =:;,/", max_size=20)
values = st.one_of(st.builds("{}{}".format, st.sampled_from(["Bearer ", "", "token ", "a="]), stood), texts)
basics = st.builds(lambda each: "Basic " + base64.b64encode(f"x:{each}".encode()).decode(), stood)
names = st.sampled_from(["Authorization", "X-Api-Key", "Cookie", "X-Authsome-Connection", "Connection", "X-Other"])
asked = st.builds(
    Asked,
    st.builds(Authority, st.sampled_from(HOSTS[:1] * 5 + HOSTS), st.sampled_from([443, 443, 8443])),
    st.sampled_from([""] * 12 + sorted(PATHS)),
    st.sampled_from(["/"] * 20 + [f"/bot{PLACEHOLDER}", f"/key-{PLACEHOLDER}:work"] * 4 + sorted(ENDS)),
    st.one_of(st.none(), st.none(), st.none(), st.tuples(st.sampled_from(["key", "q"]), stood)),
    st.lists(
        st.one_of(st.tuples(names, values), st.tuples(st.just("Authorization"), basics),
                  st.tuples(st.just("X-Authsome-Connection"), st.sampled_from(["work", "default"]))),
        max_size=2,
    ),
    st.dictionaries(st.sampled_from(["token", "text"]), st.one_of(stood, texts), max_size=2),
    st.booleans(),
)  # fmt: skip
terms = st.builds(
    Terms,
    st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from("abc"))),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["default", "work"]), max_size=1),
    st.one_of(st.just(RouteTable()), tables()),
)


# The oracle. It calls nothing of what it judges.


def covers(route: Route, authority: Authority, path: str) -> bool:
    labels, wanted = authority.host.split("."), route.host.split(".")
    if wanted[0] == "*" and len(labels) == len(wanted):
        labels[0] = "*"
    segments, prefix = path.split("/"), route.path.rstrip("/").split("/")
    return labels == wanted and authority.port == route.port and segments[: len(prefix)] == prefix


def known(table: RouteTable, terms: Terms) -> list[str]:
    return [PLACEHOLDER, *{each.placeholder for each in table.lendables + terms.began.lendables} - {PLACEHOLDER}]


def standing(text: str, marks: list[str]) -> tuple[str, str, str] | None:
    """What stands before a placeholder, the placeholder, and what stands behind it."""
    if text.startswith("Basic "):
        text = base64.b64decode(text[6:]).decode()
    return next((text.partition(mark) for mark in marks if mark in text), None)


def of(lendables: list[Lendable], kind: type[Injection], name: str) -> set[str]:
    found = [each for lendable in lendables for each in lendable.injections if isinstance(each, kind)]
    return {getattr(each, name).lower() for each in found}


def naive(table: RouteTable, terms: Terms, asked: Asked) -> Lendable | str:
    """The connection whose credential goes on the request; "refuse", or "tunnel"."""
    path = PATHS[asked.path]
    if path is None:
        return "refuse"
    path, marks = path + ENDS[asked.end], known(table, terms)
    query = [(f"query {asked.query[0]}", asked.query[1])] if asked.query else []
    segments = [("segment", unquote(segment)) for segment in path.split("/")]
    everything = [(f"header {name.lower()}", value.strip()) for name, value in asked.fields] + query + segments
    found = [(place, there) for place, text in everything if (there := standing(text, marks))]
    alone = "refuse" if found else "tunnel"

    def claims(lendables: tuple[Lendable, ...]) -> list[tuple[tuple[bool, int], Lendable]]:
        return [
            ((not route.host.startswith("*"), len(route.path)), each)
            for each in lendables
            for route in each.routes
            if covers(route, asked.authority, path) and (terms.only is None or each.provider in terms.only)
        ]

    now = claims(table.lendables)
    if not now:
        held = {each.provider for each in table.lendables}
        return "refuse" if any(each.provider not in held for _, each in claims(terms.began.lendables)) else alone
    first = {each.provider for rank, each in now if rank == max(rank for rank, _ in now)}
    if len(first) > 1:
        return "refuse"
    (provider,) = first
    family = [each for each in table.lendables if each.provider == provider]
    places = {"header authorization"} | {f"header {name}" for name in of(family, HeaderInjection, "name")}
    places |= {f"query {name}" for name in of(family, QueryInjection, "parameter")}
    asks = {value.strip() for name, value in asked.fields if name == "X-Authsome-Connection"}
    for place, (before, mark, behind) in found:
        good = place in places or (place == "segment" and before in of(family, PathInjection, "prefix"))
        if not good or mark not in (PLACEHOLDER, SHAPED.get(provider)) or (behind and behind[0] != ":"):
            return "refuse"
        asks |= {behind[1:]} - {""}
    pinned = terms.choices.get(provider, "")
    if len(asks) > 1 or (pinned and asks - {""} - {pinned}):
        return "refuse"
    able = {each.connection: each for _, each in now if each.provider == provider}
    only = next(iter(able)) if len(able) == 1 else "default"
    chosen = able.get(pinned or next(iter(asks - {""}), only))
    if chosen is None:
        return "refuse"
    prefixes, held_back = of([chosen], PathInjection, "prefix"), of([chosen], BodyInjection, "field")
    stands = [before for place, (before, _, _) in found if place == "segment"]
    if not set(stands) <= prefixes:
        return "refuse"
    if prefixes and not stands and not held_back:
        return alone
    return chosen if chosen.usable else "refuse"


def naive_content(chosen: Lendable, asked: Asked, marks: list[str]) -> dict[str, str] | str:
    """What the server reads in the body, or "refuse"."""
    content, value = dict(asked.content), asked.content.get("token", "")
    if not of([chosen], BodyInjection, "field") or standing(value, marks) is None:
        return content
    mine = {mark + end for mark in (PLACEHOLDER, chosen.placeholder) for end in ("", f":{chosen.connection}")}
    if value not in mine or (not asked.is_form and content.get("text") == value):
        return "refuse"
    return content | {"token": CREDENTIAL}


def parsed(asked: Asked) -> tuple[Request, RequestFraming] | None:
    head = RequestReader().read(asked.head())
    try:
        target = parse_origin(head.target)
    except BadTarget:
        return None
    return Request("POST", asked.authority, target, head.fields, head.text), frame_request(head)


@settings(max_examples=1500, deadline=None)
@given(tables(), terms, asked)
def test_the_decision_is_that_of_the_oracle_and_no_placeholder_leaves(
    table: RouteTable, terms: Terms, asked: Asked
) -> None:  # P1 P3 X71
    wanted, marks = naive(table, terms, asked), known(table, terms)
    read = parsed(asked)
    if read is None:
        assert wanted == "refuse"
        return
    request, framing = read
    decision = decide(table, terms, request)
    event(type(decision).__name__)
    if isinstance(decision, Deny):
        assert wanted == "refuse"
        return
    if isinstance(decision, Tunnel):
        assert wanted == "tunnel"
        sent = plain_head(request, framing, b"x")
        assert CREDENTIAL.encode() not in sent
    else:
        assert decision.lendable is wanted
        substitution = substitution_of(request.fields, decision, len(asked.body()))
        sent = outline(request, framing, decision, held=substitution is not None).complete(Secret(CREDENTIAL))
        segments = [segment for segment in ENDS[asked.end].split("/") if standing(segment, marks)]
        assert sent.count(CREDENTIAL.encode()) == (len(segments) if of([wanted], PathInjection, "prefix") else 1)
        body = asked.body() if substitution is None else substitution.apply(asked.body(), Secret(CREDENTIAL))
        event(f"body {type(body).__name__}")
        if isinstance(body, Deny):
            assert naive_content(wanted, asked, marks) == "refuse"
        else:
            got = dict(parse_qsl(body.decode(), keep_blank_values=True)) if asked.is_form else json.loads(body)
            assert got == naive_content(wanted, asked, marks)
    assert standing(sent.decode(), marks) is None


@settings(max_examples=500, deadline=None)
@given(tables(), terms, asked)
def test_clear_text_never_gets_a_credential(table: RouteTable, terms: Terms, asked: Asked) -> None:  # P1 X09
    read = parsed(asked)
    if read is None:
        return
    decision = decide_plain(table, terms, read[0])
    assert not isinstance(decision, Inject)
    if isinstance(decision, Tunnel):
        assert not table.claims(asked.authority.host)
        assert standing(plain_head(*read, b"x").decode(), known(table, terms)) is None
