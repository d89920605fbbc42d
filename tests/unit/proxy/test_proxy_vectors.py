"""The rules against the vector files: what is parsed, decided and written, fact by fact."""

import json
from pathlib import Path
from typing import Any

import hpack
import pytest

from authsome.model.authority import Authority, BadAuthority
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
from authsome.model.route import Route
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import (
    Deny,
    Inject,
    Intercept,
    Request,
    Terms,
    Tunnel,
    decide,
    decide_connect,
    decide_plain,
)
from authsome.proxy.rules.framing import RequestFraming, frame_request
from authsome.proxy.rules.head import RequestHead, RequestReader
from authsome.proxy.rules.inject import (
    BadCredential,
    block_outline,
    block_with_length,
    outline,
    plain_block,
    plain_head,
    with_length,
)
from authsome.proxy.rules.scrub import needles_of, overwrite
from authsome.proxy.rules.stream import StreamRequest, request_of
from authsome.proxy.rules.substitute import substitution_of
from authsome.proxy.rules.table import Lendable, RouteTable
from authsome.proxy.rules.target import BadTarget, parse_absolute, parse_authority, parse_origin

Vector = dict[str, Any]


def vectors(name: str) -> list[Any]:
    """The cases of a file, each with its name."""
    directory = next(parent / "vectors" for parent in Path(__file__).parents if (parent / "vectors").is_dir())
    cases = json.loads((directory / f"{name}.json").read_text())
    return [pytest.param(case, id=f"{case.get('name', '')} {case.get('text', '')}".strip()) for case in cases]


def injection(vector: Vector) -> Injection:
    match vector:
        case {"header": name, "prefix": prefix}:
            return HeaderInjection(name, prefix)
        case {"basic": role, "other": other}:
            return BasicInjection(role, other)
        case {"query": parameter}:
            return QueryInjection(parameter)
        case {"path": prefix}:
            return PathInjection(prefix)
        case {"body": field}:
            return BodyInjection(field)
        case {"fixed": name, "value": value}:
            return FixedHeader(name, value)
    raise AssertionError(vector)


def table(vectors: list[Vector]) -> RouteTable:
    return RouteTable(
        Lendable(
            provider=each["provider"],
            connection=each.get("connection", "default"),
            is_default=each.get("default", True),
            usable=each.get("usable", True),
            routes=tuple(Route.parse(text) for text in each["routes"]),
            injections=tuple(map(injection, each.get("inject", [{"header": "Authorization", "prefix": "Bearer"}]))),
            placeholder=each.get("placeholder", PLACEHOLDER),
            credential_headers=tuple(each.get("headers", ())),
        )
        for each in vectors
    )


def head(vector: Vector) -> RequestHead:
    fields = [("Host", "api.mock.test"), *vector["fields"]]
    method = vector.get("method") or vector.get("body") or "GET"
    lines = [f"{method} {vector['target']} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return RequestReader().read(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def request(vector: Vector, to: str) -> tuple[Request, RequestFraming | StreamRequest]:
    """The request of a vector, and what else its head tells: lines of HTTP/1.1, or the fields of a stream."""
    if "stream" in vector:
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in vector["stream"]]
        read: RequestHead | StreamRequest = request_of([(name, name, value) for name, value in pairs])
    else:
        read = head(vector)
    asked = Request(read.method, Authority.parse(to), parse_origin(read.target), read.fields, read.text)
    return asked, frame_request(read) if isinstance(read, RequestHead) else read


@pytest.mark.parametrize("vector", vectors("authority"))
def test_an_authority_is_one_value_or_none(vector: Vector) -> None:  # P2
    if vector["is"] is None:
        with pytest.raises(BadAuthority):
            Authority.parse(vector["text"])
    else:
        assert Authority.parse(vector["text"]) == Authority(*vector["is"])


@pytest.mark.parametrize("vector", vectors("target"))
def test_a_target_is_one_value_or_none(vector: Vector) -> None:  # P2 X21
    def parse() -> list[object]:
        match vector["form"]:
            case "origin":
                return list(parse_origin(vector["text"]))
            case "absolute":
                scheme, authority, target = parse_absolute(vector["text"])
                return [scheme, authority.host, authority.port, *target]
        authority = parse_authority(vector["text"])
        return [authority.host, authority.port]

    if vector["is"] is None:
        with pytest.raises(BadTarget):
            parse()
    else:
        assert parse() == vector["is"]


@pytest.mark.parametrize("vector", vectors("decide"))
def test_a_decision_is_the_one_of_the_vector(vector: Vector) -> None:  # P1 P3 P19
    now = table(vector["lend"])
    wanted = vector.get("terms", {})
    only = wanted.get("only")
    terms = Terms(
        None if only is None else frozenset(only), wanted.get("choices", {}), table(wanted.get("began", vector["lend"]))
    )
    to = Authority.parse(vector["to"])
    decision: object
    match vector["form"]:
        case "connect":
            decision = decide_connect(now, terms, to)
        case "plain":
            decision = decide_plain(now, terms, request(vector["request"], vector["to"])[0])
        case _:
            decision = decide(now, terms, request(vector["request"], vector["to"])[0])
    assert shown(decision) == vector["expect"]
    for name in vector.get("message_names", ()):
        assert isinstance(decision, Deny)
        assert name in f"{decision.message} {decision.hint}"


def shown(decision: object) -> str:
    match decision:
        case Inject(lendable=lendable):
            return f"inject {lendable.provider}/{lendable.connection}"
        case Tunnel():
            return "tunnel"
        case Intercept():
            return "intercept"
        case Deny(status=status, error=error):
            return f"deny {status} {error}"
    raise AssertionError(decision)


@pytest.mark.parametrize("vector", vectors("inject"))
def test_what_is_sent_and_shown_is_what_the_vector_says(vector: Vector) -> None:  # P6 P20 X38 X39 X60 X63
    lendable = {"provider": "mock", "routes": vector.get("routes", ["api.mock.test"]), "inject": vector["inject"]}
    now = table([lendable | {"headers": vector.get("headers", [])}])
    asked, framing = request(vector["request"], "api.mock.test")
    decision = decide(now, Terms(), asked)
    if isinstance(decision, Tunnel):
        searched = vector.get("searched", False)
        if isinstance(framing, StreamRequest):
            check_start(plain_block(asked, framing, searched=searched), vector)
        else:
            check_start(plain_head(asked, framing, b"api.mock.test", searched=searched), vector)
        return
    assert isinstance(decision, Inject)
    credential = Secret(vector.get("credential", "s3cret-value"))
    content = vector.get("content")
    substitution = None if content is None else substitution_of(asked.fields, decision, len(content.encode()))

    def sent() -> bytes:
        if isinstance(framing, StreamRequest):
            return block_outline(asked, framing, decision, held=substitution is not None).complete(credential)
        return outline(asked, framing, decision, held=substitution is not None).complete(credential)

    if "refused" in vector:
        with pytest.raises(BadCredential, match=vector["refused"]) as caught:
            sent()
        assert credential.reveal().strip() == "" or credential.reveal() not in str(caught.value)
        return
    start = sent()
    if substitution is not None:
        body = substitution.apply(content.encode(), credential)
        if "content_refused" in vector:
            assert isinstance(body, Deny)
            assert (body.status, body.error) == (403, "placeholder_refused")
            assert vector["content_refused"] in body.message
            return
        assert isinstance(body, bytes)
        assert body.decode() == vector["sent_content"]
        start = (block_with_length if "block" in vector else with_length)(start, len(body))
    check_start(start, vector)
    for answer, shown in vector.get("answers", ()):
        assert overwrite(answer.encode(), needles_of(decision.lendable.injections, credential)).decode() == shown


def check_start(start: bytes, vector: Vector) -> None:
    """The head that goes upstream, as lines or as a block; a block is read by an implementation that is not ours."""
    if "block" in vector:
        fields = hpack.Decoder().decode(start)
        assert [list(field) for field in fields] == vector["block"]
        assert [field[0] for field in fields if not field.indexable] == vector["never_indexed"]
    else:
        assert start.decode("latin-1") == "\r\n".join([*vector["sent"], "", ""])
