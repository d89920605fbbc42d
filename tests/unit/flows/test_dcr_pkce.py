"""The login of an MCP server as a conversation (RFC 9728, 8414, 7591, 7636, 8707, 9207)."""

import base64
import hashlib

import pytest

from authsome.errors import LoginCancelled, LoginFailed
from authsome.flows.dcr_pkce import DcrPkce
from authsome.flows.steps import ChooseClient, Fetch, KeepClient
from authsome.model.connection import Client
from authsome.model.secret import Secret

from .conftest import AS, REDIRECT, metadata, tokens, wish
from .talk import NOW, Partner, answer

LOGIN = DcrPkce().login


def test_the_first_login_goes_in_the_order_of_the_rfcs(partner: Partner) -> None:
    outcome = partner.hold(LOGIN(wish(), NOW))
    assert partner.fetches() == [
        f"GET {AS}/mcp",
        f"GET {AS}/.well-known/oauth-protected-resource/mcp",
        f"GET {AS}/.well-known/oauth-authorization-server",
        f"POST {AS}/register",
        f"GET {AS}/authorize",
        f"POST {AS}/token",
    ]
    assert outcome.credential.access_token == Secret("u:g:at1")
    assert outcome.credential.expires_at == NOW + 3600
    assert outcome.grant.issuer == AS
    assert outcome.grant.resource == f"{AS}/mcp"
    assert outcome.grant.revocation_url == f"{AS}/token"


def test_the_authorization_request_carries_s256_state_and_resource(partner: Partner) -> None:  # P15, O34
    partner.hold(LOGIN(wish(), NOW))
    (asked,) = partner.opened()
    (form,) = partner.forms(f"{AS}/token")
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert asked["code_challenge_method"] == "S256"
    assert asked["resource"] == form["resource"] == f"{AS}/mcp"
    assert asked["redirect_uri"] == form["redirect_uri"] == REDIRECT  # O08
    assert len(asked["state"]) >= 43 and "scope" not in asked


def test_a_kept_client_is_reused_without_asking(partner: Partner) -> None:
    partner.kept = Client(issuer=AS, redirect_uri=REDIRECT, client_id="kept")
    partner.hold(LOGIN(wish(), NOW))
    assert f"POST {AS}/register" not in partner.fetches()
    assert not [s for s in partner.asked if isinstance(s, ChooseClient | KeepClient)]
    assert partner.opened()[0]["client_id"] == "kept"


def test_an_expired_client_registers_once_more_without_asking(partner: Partner) -> None:
    partner.kept = Client(issuer=AS, redirect_uri=REDIRECT, client_id="old", secret_expires_at=NOW - 1)
    partner.hold(LOGIN(wish(), NOW))
    assert partner.opened()[0]["client_id"] == "client-1"
    assert not [s for s in partner.asked if isinstance(s, ChooseClient)]


def test_a_client_that_the_consent_page_no_longer_knows_is_replaced(partner: Partner) -> None:
    partner.kept = Client(issuer=AS, redirect_uri=REDIRECT, client_id="forgotten")
    partner.pages[f"GET {AS}/authorize"] = lambda step: (
        answer(400, b"<p>Invalid client</p>") if "forgotten" in step.url else answer(200)
    )
    partner.hold(LOGIN(wish(), NOW))
    assert [q["client_id"] for q in partner.opened()] == ["client-1"]
    assert partner.kept is not None and partner.kept.client_id == "client-1"


def test_invalid_client_at_the_token_endpoint_registers_once_more(partner: Partner) -> None:
    partner.kept = Client(issuer=AS, redirect_uri=REDIRECT, client_id="forgotten")
    partner.pages[f"POST {AS}/token"] = [answer(401, {"error": "invalid_client"}), answer(200, tokens())]
    outcome = partner.hold(LOGIN(wish(), NOW))
    assert [q["client_id"] for q in partner.opened()] == ["forgotten", "client-1"]
    states = [q["state"] for q in partner.opened()]
    assert states[0] != states[1]
    assert outcome.credential.access_token is not None


def test_invalid_client_twice_ends_the_login(partner: Partner) -> None:
    partner.pages[f"POST {AS}/token"] = answer(401, {"error": "invalid_client"})
    with pytest.raises(LoginFailed):
        partner.hold(LOGIN(wish(), NOW))
    assert len(partner.opened()) == 2


def test_a_client_of_the_persons_own_is_never_replaced(partner: Partner) -> None:
    partner.choice = Client(issuer=AS, redirect_uri=REDIRECT, client_id="mine", registered=False)
    partner.pages[f"POST {AS}/token"] = answer(401, {"error": "invalid_client"})
    with pytest.raises(LoginFailed):
        partner.hold(LOGIN(wish(), NOW))
    assert f"POST {AS}/register" not in partner.fetches()


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"iss": "https://evil.example", "code": "x"}, "iss"),  # O05
        ({"code": "x"}, "iss"),  # announced, so it must be there
        ({"iss": "https://evil.example", "error": "access_denied", "error_description": "SECRET"}, "iss"),
        ({"iss": AS, "error": "server_error", "error_description": "broken \x1b[31m"}, "server_error: broken"),
        ({"iss": AS}, "neither a code nor an error"),
    ],
)
def test_a_callback_that_is_not_from_the_server_is_refused(
    partner: Partner, params: dict[str, str], shown: str
) -> None:  # P15
    partner.callback = lambda q: {"state": q["state"], **params}
    with pytest.raises(LoginFailed) as failure:
        partner.hold(LOGIN(wish(), NOW))
    assert shown in failure.value.message
    assert "SECRET" not in failure.value.message and "\x1b" not in failure.value.message
    assert f"POST {AS}/token" not in partner.fetches()


def test_denied_consent_is_a_cancelled_login(partner: Partner) -> None:
    partner.callback = lambda q: {"state": q["state"], "iss": AS, "error": "access_denied"}
    with pytest.raises(LoginCancelled):
        partner.hold(LOGIN(wish(), NOW))


def test_an_iss_that_was_not_announced_is_compared_all_the_same(partner: Partner) -> None:
    partner.pages[f"GET {AS}/.well-known/oauth-authorization-server"] = answer(
        200, metadata(authorization_response_iss_parameter_supported=None)
    )
    partner.callback = lambda q: {"state": q["state"], "code": "x"}
    assert partner.hold(LOGIN(wish(), NOW)).grant.issuer == AS
    partner.callback = lambda q: {"state": q["state"], "code": "x", "iss": "https://evil.example"}
    with pytest.raises(LoginFailed):
        partner.hold(LOGIN(wish(), NOW))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"issuer": "https://evil.example"}, "issuer"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),  # O06
        ({"registration_endpoint": "http://mcp.example.com/register"}, "registration_endpoint"),
        ({"registration_endpoint": "https://evil.example/register"}, "registration_endpoint"),
        ({"registration_endpoint": "http://127.0.0.1/register"}, "registration_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"authorization_endpoint": "https://user@mcp.example.com/"}, "authorization_endpoint"),
        ({"token_endpoint": "https://127.0.0.1/token"}, "token_endpoint"),
        ({"token_endpoint": 7}, "token_endpoint"),
    ],
)
def test_metadata_that_leads_astray_is_refused_by_name(  # P14, O10
    partner: Partner, change: dict[str, object], named: str
) -> None:
    partner.pages[f"GET {AS}/.well-known/oauth-authorization-server"] = answer(200, metadata(**change))
    with pytest.raises(LoginFailed, match=named):
        partner.hold(LOGIN(wish(), NOW))
    assert f"POST {AS}/register" not in partner.fetches()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"client_id": 5}, "client_id"),
        ({"client_id": "x" * 100_000}, "client_id"),
        ({"client_id": "a\r\nb"}, "client_id"),
        ({}, "client_id"),
        ({"client_id": "a", "redirect_uris": ["http://127.0.0.1:1/other"]}, "redirect_uris"),
        ({"client_id": "a", "token_endpoint_auth_method": "tls_client_auth"}, "token_endpoint_auth_method"),
        ({"client_id": "a", "client_secret": "s", "client_secret_expires_at": NOW - 5}, "expired"),
    ],
)
def test_a_registration_that_is_not_ours_is_refused(partner: Partner, body: object, named: str) -> None:  # O11
    partner.pages[f"POST {AS}/register"] = answer(201, body)
    with pytest.raises(LoginFailed, match=named):
        partner.hold(LOGIN(wish(), NOW))
    assert partner.kept is None


def test_a_registration_asks_for_a_native_client_with_refresh(partner: Partner) -> None:
    partner.hold(LOGIN(wish(), NOW))
    (asked,) = [s.json for s in partner.asked if isinstance(s, Fetch) and s.url == f"{AS}/register"]
    assert asked is not None
    assert asked["application_type"] == "native"
    assert asked["grant_types"] == ["authorization_code", "refresh_token"]
    assert asked["token_endpoint_auth_method"] == "none"
    assert asked["redirect_uris"] == [REDIRECT]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        b"[]",
        b"null",
        b'{"access_token":null,"token_type":"bearer"}',
        b'{"access_token":5,"token_type":"bearer"}',
        b'{"access_token":"","token_type":"bearer"}',
        b'{"access_token":"a\\r\\nb","token_type":"bearer"}',
        b'{"access_token":"' + b"a" * 65536 + b'","token_type":"bearer"}',
        b'{"access_token":"a","access_token":"b","token_type":"bearer"}',
        b'{"access_token":"a","token_type":"bearer","x":NaN}',
        b'\xef\xbb\xbf{"access_token":"a","token_type":"bearer"}',
        '{"access_token":"a","token_type":"bearer"}'.encode("utf-16"),
        b'{"access_token":"a","token_type":"bearer","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"access_token":"a","token_type":"mac"}',
        b'{"access_token":"a","token_type":"DPoP"}',
        b'{"access_token":"a"}',
    ],
)
def test_a_token_answer_that_is_none_stores_nothing(partner: Partner, body: bytes) -> None:  # O14, O16
    partner.pages[f"POST {AS}/token"] = answer(200, body)
    with pytest.raises(LoginFailed, match="token"):
        partner.hold(LOGIN(wish(), NOW))


@pytest.mark.parametrize(
    ("given", "lifetime"),
    [
        (None, None), (0, None), (-5, None), ("3600", 3600.0), ("3600.5", 3600.5), ("abc", None),
        (1e300, None), (True, None), (10**12, None), (3600, 3600.0),
    ],
)  # fmt: skip
def test_an_odd_lifetime_counts_as_unknown(partner: Partner, given: object, lifetime: float | None) -> None:  # O15
    partner.pages[f"POST {AS}/token"] = answer(200, tokens(expires_in=given))
    credential = partner.hold(LOGIN(wish(), NOW)).credential
    assert credential.expires_at == (None if lifetime is None else NOW + lifetime)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirecting_token_endpoint_is_not_followed(partner: Partner, status: int) -> None:  # O12
    partner.pages[f"POST {AS}/token"] = answer(status, location="https://evil.example/")
    with pytest.raises(LoginFailed, match="redirect"):
        partner.hold(LOGIN(wish(), NOW))


def test_the_file_cannot_set_what_is_ours(partner: Partner) -> None:  # O32
    evil = {"redirect_uri": "https://evil.example", "state": "x", "response_type": "token", "prompt": "login"}
    partner.hold(LOGIN(wish(oauth={"authorization_params": evil}), NOW))
    (asked,) = partner.opened()
    assert asked["redirect_uri"] == REDIRECT and asked["response_type"] == "code" and asked["state"] != "x"
    assert asked["prompt"] == "login"


def test_granted_scopes_are_what_is_stored(partner: Partner) -> None:  # O17
    partner.pages[f"POST {AS}/token"] = answer(200, tokens(scope="read"))
    assert partner.hold(LOGIN(wish(oauth={"scopes": ["read", "write"]}), NOW)).scopes == ("read",)


def test_a_server_without_resource_metadata_is_found_at_the_root(partner: Partner) -> None:
    del partner.pages[f"GET {AS}/.well-known/oauth-protected-resource/mcp"]
    outcome = partner.hold(LOGIN(wish(), NOW))
    assert outcome.grant.issuer == AS
    assert outcome.grant.resource is None and "resource" not in partner.opened()[0]


def test_the_challenge_names_metadata_and_scopes(partner: Partner) -> None:
    place = f"{AS}/.well-known/elsewhere"
    partner.pages[f"GET {AS}/mcp"] = answer(401, www_authenticate=f'Bearer resource_metadata="{place}", scope="a b"')
    partner.pages[f"GET {place}"] = partner.pages.pop(f"GET {AS}/.well-known/oauth-protected-resource/mcp")
    partner.hold(LOGIN(wish(), NOW))
    assert partner.opened()[0]["scope"] == "a b"


def test_a_challenge_cannot_lead_to_another_host(partner: Partner) -> None:  # P14
    partner.pages[f"GET {AS}/mcp"] = answer(401, www_authenticate='Bearer resource_metadata="https://evil.example/x"')
    partner.hold(LOGIN(wish(), NOW))
    assert not [f for f in partner.fetches() if "evil" in f]


def test_an_authorization_server_inside_the_machine_is_refused(partner: Partner) -> None:  # P14
    partner.pages[f"GET {AS}/.well-known/oauth-protected-resource/mcp"] = answer(
        200, {"resource": f"{AS}/mcp", "authorization_servers": ["http://127.0.0.1:8080"]}
    )
    with pytest.raises(LoginFailed, match="this machine"):
        partner.hold(LOGIN(wish(), NOW))


def test_offline_access_is_asked_for_where_it_is_offered(partner: Partner) -> None:
    partner.pages[f"GET {AS}/.well-known/oauth-authorization-server"] = answer(
        200, metadata(scopes_supported=["read", "offline_access"])
    )
    partner.hold(LOGIN(wish(oauth={"scopes": ["read"]}), NOW))
    assert partner.opened()[0]["scope"] == "read offline_access"
    assert partner.opened()[0]["prompt"] == "consent"


def test_no_secret_shows_in_what_was_asked(partner: Partner) -> None:  # P23
    partner.pages[f"POST {AS}/register"] = answer(201, {"client_id": "c", "client_secret": "CANARY-client"})
    partner.callback = lambda q: {"state": q["state"], "iss": AS, "code": "CANARY-code"}
    partner.hold(LOGIN(wish(), NOW))
    assert "CANARY" not in repr(partner.asked)
