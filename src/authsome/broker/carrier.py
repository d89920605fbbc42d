"""One call to an authorization server by HTTP: whom to connect to has been decided, what comes back is bounded.

Nothing but `Fetcher` imports this module, and not before the first call.
"""

import json
import ssl
import time
import zlib
from urllib.parse import urlencode

import httpx2

from authsome.broker.egress import Hop
from authsome.errors import LoginFailed
from authsome.flows.steps import Fetch, Fetched
from authsome.model.secret import Secret

BODY_LIMIT = 1 << 20


class NotCarried(Exception):
    """There is no answer. The message is a reason without the host, `hint` is what may help."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


async def call(step: Fetch, target: str, netloc: str, host: str, tls: ssl.SSLContext, hop: Hop | None) -> Fetched:
    """The answer to a request for `target`, a URL with the address to dial, of `host`, which TLS verifies.

    Raises NotCarried, or LoginFailed for an answer out of bounds.
    """
    headers = {"Host": netloc, "Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "authsome"}
    if step.authorization is not None:
        headers["Authorization"] = step.authorization.reveal()
    content = _content(step, headers)
    transport = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, proxy=_proxy(hop))
    try:
        async with (
            # the time limit is the caller's, for all of it together
            httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None, follow_redirects=False) as client,
            client.stream(
                step.method, target, headers=headers, content=content, extensions={"sni_hostname": host}
            ) as answer,
        ):
            body = await _read(answer, host)
            fields = {name.lower(): value for name, value in answer.headers.items()}
            return Fetched(status=answer.status_code, headers=fields, body=body, at=time.time())
    except httpx2.DecodingError:
        raise LoginFailed(f"{host} sent an answer that cannot be decoded") from None
    except httpx2.HTTPError as error:
        raise NotCarried(_reason(error), _hint(error, hop)) from None


def _proxy(hop: Hop | None) -> httpx2.Proxy | None:
    if hop is None:
        return None
    fields = {"Proxy-Authorization": hop.authorization.reveal()} if hop.authorization else None
    return httpx2.Proxy(f"http://{hop}", headers=fields)


def _content(step: Fetch, headers: dict[str, str]) -> bytes | None:
    if step.form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return urlencode([(name, _plain(value)) for name, value in step.form]).encode()
    if step.json is not None:
        headers["Content-Type"] = "application/json"
        return json.dumps({name: _plain(value) for name, value in step.json.items()}).encode()
    return None


def _plain(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value


async def _read(answer: httpx2.Response, host: str) -> bytes:
    """The body, at most 1 MiB even where it was compressed without being asked to (O13)."""
    raw = bytearray()
    async for chunk in answer.aiter_raw():
        raw += chunk
        if len(raw) > BODY_LIMIT:
            raise LoginFailed(f"{host} sent more than {BODY_LIMIT >> 20} MiB")
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return bytes(raw)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise LoginFailed(f"{host} sent an answer in a coding that was not asked for")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        body = inflater.decompress(bytes(raw), BODY_LIMIT + 1)
    except zlib.error:
        raise LoginFailed(f"{host} sent an answer that cannot be decoded") from None
    if len(body) > BODY_LIMIT:
        raise LoginFailed(f"{host} sent more than {BODY_LIMIT >> 20} MiB")
    return body


def _reason(error: httpx2.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ProxyError):
        status = str(error)[:3]
        return f"it answered {status}" if status.isdigit() else "it does not connect us"
    if isinstance(error, httpx2.ConnectError):
        return "the connection was refused or lost"
    return "it broke the connection or the protocol"


def _hint(error: httpx2.HTTPError, hop: Hop | None) -> str:
    if isinstance(error, httpx2.ProxyError) and hop is not None:
        return f"check the address, user name and password in {hop.setting}"
    trust = "certificate" in _reason(error)
    return "name your own CA in AUTHSOME_CA_FILE" if trust else "check the network, then try again"
