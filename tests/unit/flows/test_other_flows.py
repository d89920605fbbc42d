"""Logins with a client or a key that the person brings; refresh and revocation."""

import json

import pytest

from authsome.errors import CredentialMissing, LoginFailed, NeedsLogin
from authsome.flows.api_key import ApiKeyFlow
from authsome.flows.dcr_pkce import DcrPkce
from authsome.flows.pkce import Pkce
from authsome.flows.steps import AskKey, ChooseClient, Fetch, FindClient, Wish
from authsome.flows.tokens import refresh, revoke
from authsome.model.connection import Client, Connection, Credential, Grant
from authsome.model.provider import Provider
from authsome.model.secret import Secret

from .conftest import AS, REDIRECT, tokens, wish
from .talk import NOW, Partner, answer

TOKEN = f"{AS}/token"
MINE = Client(
    issuer=AS, redirect_uri=REDIRECT, client_id="m:ine", client_secret=Secret("s+/="), registered=False,
    auth_method="client_secret_basic",
)  # fmt: skip


def connection(**changes: object) -> Connection:
    credential = Credential(access_token=Secret("at1"), refresh_token=Secret("rt1"), expires_at=NOW)
    grant = Grant(issuer=AS, token_url=TOKEN, revocation_url=TOKEN, redirect_uri=REDIRECT, resource=f"{AS}/mcp")
    return Connection(
        **(
            {"provider": "example", "name": "default", "flow": "pkce", "grant": grant, "credential": credential}
            | changes
        )  # type: ignore[arg-type]
    )


def oauth(**changes: object):  # type: ignore[no-untyped-def]
    return wish(oauth=changes).provider.oauth


def test_a_provider_without_registration_asks_for_a_client(partner: Partner) -> None:
    partner.choice = MINE
    partner.callback = lambda q: {"code": "x", "state": q["state"]}
    outcome = partner.hold(Pkce().login(wish(oauth={"resource": None}, flow="pkce"), NOW))
    (asked,) = [s for s in partner.asked if isinstance(s, ChooseClient)]
    assert not asked.can_register
    assert outcome.grant.issuer == AS
    assert [f for f in partner.fetches() if "well-known" in f] == []


def test_basic_authentication_is_form_encoded_first(partner: Partner) -> None:  # RFC 6749 §2.3.1
    import base64

    partner.hold(refresh(oauth(), connection(), MINE))
    (call,) = [s for s in partner.asked if isinstance(s, Fetch)]
    assert call.authorization is not None
    pair = base64.b64decode(call.authorization.reveal().removeprefix("Basic ")).decode()
    assert pair == "m%3Aine:s%2B%2F%3D"
    assert "client_id" not in partner.forms(TOKEN)[0]


def test_a_public_client_names_itself_in_the_body(partner: Partner) -> None:
    partner.hold(refresh(oauth(), connection(), Client(issuer=AS, redirect_uri=REDIRECT, client_id="pub")))
    (form,) = partner.forms(TOKEN)
    assert form == {
        "grant_type": "refresh_token", "refresh_token": "rt1", "resource": f"{AS}/mcp", "client_id": "pub",
    }  # fmt: skip


def test_a_json_token_endpoint_gets_json(partner: Partner) -> None:
    partner.hold(refresh(oauth(token_request_format="json"), connection(), MINE))
    (call,) = [s for s in partner.asked if isinstance(s, Fetch)]
    assert call.form is None and call.json is not None and call.json["grant_type"] == Secret("refresh_token")


@pytest.mark.parametrize(("answered", "kept"), [(None, "rt1"), ("rt1", "rt1"), ("rt2", "rt2")])
def test_a_refresh_keeps_or_replaces_the_refresh_token(
    partner: Partner, answered: str | None, kept: str
) -> None:  # O24
    partner.pages[f"POST {TOKEN}"] = answer(200, tokens(access_token="at2", refresh_token=answered))
    fresh = partner.hold(refresh(oauth(), connection(), MINE))
    assert fresh.refresh_token == Secret(kept) and fresh.access_token == Secret("at2")


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_client"])
def test_a_dead_grant_needs_a_new_login(partner: Partner, error: str) -> None:  # O23
    partner.pages[f"POST {TOKEN}"] = answer(400, {"error": error})
    with pytest.raises(NeedsLogin):
        partner.hold(refresh(oauth(), connection(), MINE))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_does_not_kill_the_grant(partner: Partner, status: int) -> None:  # O22
    partner.pages[f"POST {TOKEN}"] = answer(status, b"oops")
    with pytest.raises(LoginFailed):
        partner.hold(refresh(oauth(), connection(), MINE))


def test_an_error_with_status_200_is_an_error(partner: Partner) -> None:
    partner.pages[f"POST {TOKEN}"] = answer(200, {"error": "bad_verification_code"})
    with pytest.raises(LoginFailed, match="bad_verification_code"):
        partner.hold(refresh(oauth(), connection(), MINE))


def test_without_a_refresh_token_there_is_no_refresh(partner: Partner) -> None:
    with pytest.raises(CredentialMissing):
        partner.hold(refresh(oauth(), connection(credential=Credential(access_token=Secret("a"))), MINE))


def test_revocation_takes_the_refresh_token_first(partner: Partner) -> None:
    assert partner.hold(revoke(oauth(), connection(), MINE)) is True
    assert [form["token"] for form in partner.forms(TOKEN)] == ["rt1", "at1"]


def test_an_unconfirmed_revocation_is_said(partner: Partner) -> None:
    partner.pages[f"POST {TOKEN}"] = answer(400, {"error": "unsupported_grant_type"})
    assert partner.hold(revoke(oauth(), connection(), MINE)) is False


def key_wish(**api_key: object) -> Wish:
    whole = {
        "name": "keyed", "display_name": "Keyed", "auth_type": "api_key", "flow": "api_key",
        "api_url": "api.keyed.example", "api_key": api_key,
    }  # fmt: skip
    return Wish(provider=Provider.model_validate_json(json.dumps(whole)), redirect_uri=REDIRECT)


def test_a_key_is_asked_for_until_it_has_the_form(partner: Partner) -> None:  # X38, X63
    partner.keys = ["short", "has a blank inside", "sk_x\r\ninjected", "nk-0123456789", " sk-0123456789\n"]
    outcome = partner.hold(
        ApiKeyFlow().login(key_wish(key_pattern="sk-[0-9]+", key_pattern_hint="starts with sk-"), NOW)
    )
    assert outcome.credential.api_key == Secret("sk-0123456789")
    problems = [s.problem for s in partner.asked if isinstance(s, AskKey)]
    assert problems[0] is None and problems[-1] == "starts with sk-"
    assert not any("0123456789" in (p or "") for p in problems)


@pytest.mark.parametrize("flow", ["pkce", "dcr_pkce"])
def test_a_file_cannot_have_a_kept_client_sent_elsewhere(partner: Partner, flow: str) -> None:  # O31
    partner.pages = {f"GET {AS}/authorize": answer(200)}
    partner.kept = None
    evil = {"issuer": AS, "token_url": "https://evil.example/token", "resource": None}
    partner.choice = MINE
    login = (Pkce if flow == "pkce" else DcrPkce)().login
    with pytest.raises(LoginFailed):
        partner.hold(login(wish(oauth=evil, flow=flow), NOW))
    assert {s.issuer for s in partner.asked if isinstance(s, FindClient)} == {"https://evil.example"}


def test_a_file_cannot_plant_a_client_under_another_issuer(partner: Partner) -> None:  # O31
    partner.pages = {}
    planted = {"issuer": AS, "registration_endpoint": "https://evil.example/register", "resource": None}
    with pytest.raises(LoginFailed, match="registration_endpoint"):
        partner.hold(DcrPkce().login(wish(oauth=planted), NOW))
    assert partner.kept is None
