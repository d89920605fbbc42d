"""An authorization server that agrees to everything, and that knows afterwards every secret of the login it served."""

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlsplit

from e2e.rows_site import Site, send
from wire.wire_world import Message, Wire

MET = ("/register", "/authorize", "/token", "/revoke")


class Issuer:
    """Handles what `site.server` gets. `secrets` are those that went over its wire, by what they are.

    `meanwhile` is called at each of `MET`, before the answer.
    """

    def __init__(self, site: Site, mark: str, meanwhile: Callable[[str], object]) -> None:
        self.url = f"https://{site.server.address}"
        self.secrets = {name: f"{name}-{mark}" for name in ("client_secret", "code", "access_token", "refresh_token")}
        self._meanwhile = meanwhile
        self._site = site

    def provider(self, name: str, api_url: str) -> None:
        """Write the file of a provider whose logins come here."""
        self._site.provider(
            name,
            api_url,
            auth_type="oauth2",
            flow="dcr_pkce",
            oauth={
                "issuer": self.url,
                "authorization_url": f"{self.url}/authorize",
                "token_url": f"{self.url}/token",
                "revocation_url": f"{self.url}/revoke",
                "registration_endpoint": f"{self.url}/register",
                "supports_dcr": True,
                "scopes": ["read"],
            },
        )

    def __call__(self, wire: Wire, received: Message) -> None:
        """Answer one request."""
        url = urlsplit(received.target)
        if url.path in MET:
            self._meanwhile(url.path)
        given = dict(parse_qsl(url.query)) | dict(parse_qsl(received.body.decode("latin-1")))
        if url.path == "/register":
            asked = json.loads(received.body)
            told = {"client_id": "a-client", "client_secret": self.secrets["client_secret"]}
            self._json(wire, asked | told | {"token_endpoint_auth_method": "client_secret_post"}, "201 Created")
        elif url.path == "/authorize":
            self.secrets["state"] = given["state"]
            back = f"{given['redirect_uri']}?code={self.secrets['code']}&state={quote(given['state'])}"
            send(wire, b"", f"Location: {back}&iss={quote(self.url)}", status="302 Found")
        elif url.path == "/token":
            self.secrets["verifier"] = given["code_verifier"]
            tokens = {name: self.secrets[name] for name in ("access_token", "refresh_token")}
            self._json(wire, {"token_type": "Bearer", "expires_in": 3600, "scope": "read", **tokens})
        elif url.path == "/revoke":
            self._json(wire, {})
        else:
            send(wire, b"", status="404 Not Found")

    def forms(self) -> dict[str, bytes]:
        """What to search for: each secret, plainly and as base64 has it wherever it stands."""
        found: dict[str, bytes] = {}
        for name, secret in self.secrets.items():
            plain = secret.encode()
            found[name] = plain
            for before in range(3):
                whole = base64.b64encode(b"\0" * before + plain)
                found[f"{name}, as base64 after {before}"] = whole[4 if before else 0 : len(whole) - 4]
        return found

    def _json(self, wire: Wire, body: dict[str, object], status: str = "200 OK") -> None:
        send(
            wire, json.dumps(body).encode(), "Content-Type: application/json", "Cache-Control: no-store", status=status
        )
