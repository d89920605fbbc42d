"""What is swept: the clients with what is known of them, and the accounts that they use."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Kind = Literal["Python", "Node", "Programs"]


class Outcome(StrEnum):
    """How a client fared, in the words of the table."""

    WORKS = "works"
    DIRECT = "ignores proxy variables"
    OWN_CA = "brings its own CA file"
    SIGNS = "needs request signing (later)"
    FAILS = "fails"


MEANINGS = {
    Outcome.WORKS: "its request arrived through the proxy, with the credential and without the placeholder",
    Outcome.DIRECT: "it connected past the proxy; what arrived was the placeholder, and the host rejected it",
    Outcome.OWN_CA: "it went to the proxy and refused its certificate, because it trusts a file of its own choice, "
    "whatever the variables name; nothing was sent",
    Outcome.SIGNS: "it signs each request with a secret key, so nothing can be put on the request afterwards; "
    "the host rejected it",
    Outcome.FAILS: "none of these",
}


@dataclass(frozen=True)
class Client:
    """A client as clients/ knows it by `name`; `package` is whose version is told, or "" for the runtime's own.

    `expected` is how it fares in a plain run. `major` is the version of the system's Node which it needs, 0 for the
    one that the others run on.
    """

    kind: Kind
    name: str
    title: str
    package: str = ""
    expected: Outcome = Outcome.WORKS
    major: int = 0

    @property
    def expected_isolated(self) -> Outcome:
        """How it fares under --isolate: every client is served, but nobody can sign for it."""
        return self.expected if self.expected is Outcome.SIGNS else Outcome.WORKS


def _clients(
    kind: Kind, *rows: tuple[str, str, str] | tuple[str, str, str, Outcome] | tuple[str, str, str, Outcome, int]
) -> list[Client]:
    return [Client(kind, *row) for row in rows]


CLIENTS = [
    *_clients(
        "Python",
        ("openai", "openai, and streaming", "openai"),
        ("openai_async", "openai, asynchronous", "openai"),
        ("openai_realtime", "openai, realtime (WebSocket)", "openai"),
        ("anthropic", "anthropic, and streaming", "anthropic"),
        ("pygithub", "PyGithub", "PyGithub"),
        ("slack", "slack_sdk", "slack-sdk"),
        ("slack_async", "slack_sdk, asynchronous", "slack-sdk"),
        ("notion", "notion-client", "notion-client"),
        ("stripe", "stripe", "stripe", Outcome.OWN_CA),
        ("gmail", "google-api-python-client (Gmail)", "google-api-python-client", Outcome.DIRECT),
        ("google_auth", "google-auth, with requests", "google-auth"),
        ("google_genai", "google-genai", "google-genai"),
        ("huggingface", "huggingface_hub", "huggingface-hub"),
        ("boto3", "boto3 (S3)", "boto3", Outcome.SIGNS),
        ("requests", "requests", "requests"),
        ("httpx", "httpx", "httpx"),
        ("httpx_http2", "httpx, `http2=True`", "httpx"),
        ("httpx2", "httpx2", "httpx2"),
        ("aiohttp", "aiohttp", "aiohttp", Outcome.DIRECT),
        ("aiohttp_trust_env", "aiohttp, `trust_env=True`", "aiohttp"),
        ("urllib3", "urllib3", "urllib3", Outcome.DIRECT),
        ("urllib", "urllib.request", ""),
        ("http_client", "http.client", "", Outcome.DIRECT),
        ("curl_cffi", "curl_cffi", "curl-cffi"),
        ("pycurl", "pycurl", "pycurl", Outcome.OWN_CA),
        ("websockets", "websockets", "websockets"),
        ("websocket_client", "websocket-client", "websocket-client"),
        ("grpcio", "grpcio, unary and streaming", "grpcio"),
    ),
    *_clients(
        "Node",
        ("openai", "openai, and streaming", "openai"),
        ("anthropic", "@anthropic-ai/sdk, and streaming", "@anthropic-ai/sdk"),
        ("octokit", "@octokit/rest", "@octokit/rest"),
        ("slack", "@slack/web-api", "@slack/web-api"),
        ("stripe", "stripe", "stripe", Outcome.DIRECT),
        ("notion", "@notionhq/client", "@notionhq/client"),
        ("aws_s3", "@aws-sdk/client-s3", "@aws-sdk/client-s3", Outcome.SIGNS),
        ("aws_s3_token", "@aws-sdk/client-s3, with a token for a signature", "@aws-sdk/client-s3", Outcome.DIRECT),
        ("fetch", "fetch", ""),
        ("fetch", "fetch, Node 20", "", Outcome.DIRECT, 20),
        ("https", "node:https", ""),
        ("undici", "undici", "undici"),
        ("undici_env_agent", "undici, `EnvHttpProxyAgent`", "undici"),
        ("axios", "axios", "axios"),
        ("got", "got", "got"),
        ("node_fetch", "node-fetch", "node-fetch"),
        ("ws", "ws", "ws", Outcome.DIRECT),
        ("websocket", "WebSocket", ""),
        ("grpc_js", "@grpc/grpc-js, unary and streaming", "@grpc/grpc-js"),
    ),
    *_clients("Programs", ("curl", "curl", ""), ("git", "git ls-remote, over https", "")),
]

_HEADER = "Authorization: Bearer authsome-proxy-managed"
PROGRAMS = {
    "curl": ["curl", "-sS", "--fail", "-H", _HEADER, "https://api.github.com/user"],
    "git": ["git", "ls-remote", "--exit-code", "https://github.com/ada/engine.git"],
}


def _bearer(key: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {key}"


@dataclass(frozen=True)
class Account:
    """A key for some hosts, and the header by which they know it. Without `settings` its provider is bundled."""

    provider: str
    prefix: str
    hosts: tuple[str, ...]
    header: Callable[[str], tuple[str, str]] = _bearer
    settings: dict[str, str] | None = None

    def file(self) -> dict[str, object]:
        """The file that an owner writes for a provider that is not bundled."""
        return {
            "name": self.provider,
            "display_name": self.provider,
            "auth_type": "api_key",
            "flow": "api_key",
            "api_url": list(self.hosts),
            "api_key": self.settings,
        }


OBJECTS_HOST = "objects.example.com"
"""A store of objects that speaks S3's protocol and takes a token."""

ACCOUNTS = (
    Account("openai", "sk-", ("api.openai.com",)),
    Account("anthropic", "sk-ant-", ("api.anthropic.com",), lambda key: ("x-api-key", key)),
    Account("github", "ghp_", ("api.github.com",)),
    Account("slack", "xoxb-", ("slack.com",)),
    Account("notion", "ntn_", ("api.notion.com",)),
    Account("stripe", "sk_test_", ("api.stripe.com",)),
    Account("gemini", "AIza", ("generativelanguage.googleapis.com",), lambda key: ("x-goog-api-key", key)),
    Account("hugging-face", "hf_", ("huggingface.co",)),
    Account(
        "google-token", "ya29", ("gmail.googleapis.com", "grpc.googleapis.com"), settings={"env_var": "GOOGLE_TOKEN"}
    ),
    Account("objects", "obj_", (OBJECTS_HOST,), settings={"env_var": "OBJECTS_TOKEN"}),
    Account(
        "github-git",
        "ghp_",
        ("github.com",),
        lambda key: ("Authorization", f"Basic {base64.b64encode(f'ada:{key}'.encode()).decode()}"),
        settings={"username": "ada", "env_var": "ADA_TOKEN"},
    ),
)

SIGNED_HOSTS = ("s3.amazonaws.com", "s3.us-east-1.amazonaws.com")
"""They reject every request that nobody signed with the real key, and nobody here has it."""
