"""A public OAuth client in a few lines, to prove servers and persons with: registration, code, PKCE, refresh.

`python client.py ISSUER` logs in through $BROWSER and prints the token answer as JSON.
"""

import base64
import hashlib
import json
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parts.listener import Listener


class Client:
    """Registered at the server with this issuer; the browser comes back to `listener`, at /callback."""

    def __init__(self, issuer: str, listener: Listener) -> None:
        self._listener = listener
        self._redirect_uri = f"{listener.origin}/callback"
        self._verifier = secrets.token_urlsafe(48)
        self._http = httpx2.Client(timeout=20)
        self._endpoints = self._http.get(f"{issuer}/.well-known/oauth-authorization-server").json()
        wanted = {
            "client_name": "a test",
            "redirect_uris": [self._redirect_uri],
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        self.id = self._http.post(self._endpoints["registration_endpoint"], json=wanted).json()["client_id"]

    def url(self) -> str:
        """What the person has to open."""
        digest = hashlib.sha256(self._verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self._redirect_uri,
            "state": "any",
            "scope": "read",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self._endpoints['authorization_endpoint']}?{urlencode(asked)}"

    def callback(self) -> dict[str, str]:
        """With what the browser came back last."""
        return self._listener.last("/callback").query

    def finish(self) -> Any:
        """Exchange the code; the token answer."""
        code = {"code": self.callback()["code"], "code_verifier": self._verifier, "redirect_uri": self._redirect_uri}
        answer = self.token(grant_type="authorization_code", **code)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, **form: str) -> httpx2.Response:
        """Any request to the token endpoint."""
        return self._http.post(self._endpoints["token_endpoint"], data={"client_id": self.id, **form})


def main() -> None:
    """Log in once."""
    with Listener() as listener:
        client = Client(sys.argv[1], listener)
        url = client.url()
        argv = [url if word == "%s" else word for word in shlex.split(os.environ["BROWSER"])]
        subprocess.run(argv, check=True)
        print(json.dumps(client.finish()))


if __name__ == "__main__":
    main()
