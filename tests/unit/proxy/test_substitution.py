"""Which bodies are looked into for a placeholder, and what becomes of it there; more in vectors/inject.json."""

import json

import pytest

from authsome.model.injection import BodyInjection, HeaderInjection, Injection
from authsome.model.placeholder import PLACEHOLDER
from authsome.model.secret import Secret
from authsome.proxy.rules.decide import Deny, Inject
from authsome.proxy.rules.substitute import LARGEST_BODY, Kind, Substitution, substitution_of
from authsome.proxy.rules.table import Lendable, RouteTable

BODY: tuple[Injection, ...] = (HeaderInjection("Authorization"), BodyInjection("token"), BodyInjection("api_key"))
JSON, FORM = ("Content-Type", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")
SECRET = "s3cret-value"


def substitution(
    *fields: tuple[str, str], length: int | None = 100, injections: tuple[Injection, ...] = BODY
) -> Substitution | None:
    lendable = Lendable("mock", "default", True, True, (), injections)
    table = RouteTable([lendable, Lendable("other", "default", True, True, (), BODY, "sk-other-placeholder")])
    decision = Inject(lendable, table.places("mock"), "/", table.placeholders)
    sent = [(name.lower().encode(), name.encode(), value.encode()) for name, value in fields]
    return substitution_of(sent, decision, length)


def replaced(body: bytes, *fields: tuple[str, str]) -> bytes | Deny:
    found = substitution(*(fields or (JSON,)))
    assert found is not None
    return found.apply(body, Secret(SECRET))


def test_json_and_forms_are_looked_into() -> None:
    for text, kind in (
        ("application/json", Kind.JSON),
        ("Application/JSON; charset=utf-8", Kind.JSON),
        ("application/vnd.api+json", Kind.JSON),
        ("application/x-www-form-urlencoded ; charset=utf-8", Kind.FORM),
    ):
        found = substitution(("Accept", "text/html"), ("Content-Type", text))
        assert found is not None and found.kind is kind
    for text in ("text/plain", "multipart/form-data; boundary=x", "application/jsonl", "application/grpc"):
        assert substitution(("Content-Type", text)) is None
    assert substitution() is None


def test_a_coded_body_is_not_looked_into() -> None:
    assert substitution(("Content-Encoding", "gzip"), JSON) is None
    assert substitution(JSON, ("Content-Encoding", "br")) is None
    assert substitution(JSON, ("Content-Encoding", "Identity")) is not None


def test_a_body_is_looked_into_up_to_a_mebibyte() -> None:
    assert substitution(JSON, length=LARGEST_BODY) is not None
    assert substitution(JSON, length=None) is not None  # its end decides
    assert substitution(JSON, length=LARGEST_BODY + 1) is None
    assert substitution(JSON, length=0) is None


def test_only_the_bodies_of_a_provider_with_such_fields_are_held() -> None:
    assert substitution(JSON, injections=(HeaderInjection("Authorization"),)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json: %b",
        b'["%b"]',
        b'{"text": "%b"}',
        b'{"token": ["%b"]}',
        b'{"token": {"token": "%b"}}',
        b"[" * 100_000 + b"%b",
        b'{"token": "own", "text": "\xff%b"}',  # not UTF-8
    ],
)
def test_what_is_no_named_member_of_an_object_stays_text(body: bytes) -> None:
    body = body.replace(b"%b", PLACEHOLDER.encode())
    assert replaced(body) == body


def test_every_named_member_is_replaced() -> None:
    body = json.dumps({"token": PLACEHOLDER, "api_key": PLACEHOLDER, "other": 1}).encode()
    assert replaced(body) == body.replace(PLACEHOLDER.encode(), SECRET.encode())
    both = json.dumps({"token": PLACEHOLDER, "api_key": f"{PLACEHOLDER}:default"}).encode()
    assert json.loads(bytes(replaced(both))) == {"token": SECRET, "api_key": SECRET}  # type: ignore[arg-type]


def test_a_long_number_beside_it_kept_the_credential_out() -> None:
    body = b'{"n": %b, "token": "%b"}' % (b"9" * 5000, PLACEHOLDER.encode())
    assert replaced(body) == body.replace(PLACEHOLDER.encode(), SECRET.encode())


def test_another_providers_placeholder_in_a_named_field_is_refused() -> None:  # X71 P3
    for body, kind in ((b'{"token": "sk-other-placeholder"}', JSON), (b"token=sk-other-placeholder", FORM)):
        refused = replaced(body, kind)
        assert isinstance(refused, Deny)
        assert (refused.status, refused.error) == (403, "placeholder_refused")


def test_a_form_without_a_placeholder_is_not_written_anew() -> None:
    for body in (b"", b"a=%zz&token=+own%20&token&=&b=%FF", b"\xff=\xfe&token=x"):
        assert replaced(body, FORM) == body


def test_a_placeholder_that_a_form_encodes_more_than_it_needs_to_went_out() -> None:
    encoded = "".join(f"%{byte:02x}" for byte in PLACEHOLDER.encode())
    assert replaced(f"a=1&%74oken={encoded}".encode(), FORM) == f"a=1&%74oken={SECRET}".encode()


def test_a_form_of_endless_fields_is_not_taken_apart() -> None:  # P28
    body = b"&" * 1001 + f"token={PLACEHOLDER}".encode()
    assert isinstance(replaced(body, FORM), Deny)
    assert replaced(b"&" * 5000, FORM) == b"&" * 5000  # without a placeholder nobody looks


def test_a_placeholder_that_json_spells_in_another_way_let_a_decoy_get_the_credential() -> None:  # P3
    body = b'{"token": "\\u0061uthsome-proxy-managed", "text": "' + PLACEHOLDER.encode() + b'"}'
    assert isinstance(replaced(body), Deny)
