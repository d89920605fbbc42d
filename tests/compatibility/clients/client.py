# mypy: ignore-errors
"""One authenticated call by a client library, with its default settings: `client.py NAME`; it worked if it exits 0.

The key is what the library or its user finds in the environment. Runs in the sweep's own environment.
"""

import asyncio
import os
import sys

CLIENTS = {}
USER = "https://api.github.com/user"
REALTIME = "wss://api.openai.com/v1/realtime?model=none"
SAID = "nothing of substance"


def client(function):
    """Make the function known under its name."""
    CLIENTS[function.__name__] = function
    return function


def bearer(variable="GITHUB_TOKEN"):
    """The header that a program without a library writes."""
    return {"Authorization": f"Bearer {os.environ[variable]}"}


def question(model):
    """A chat of one message."""
    return {"model": model, "messages": [{"role": "user", "content": "what?"}]}


@client
def openai():
    from openai import OpenAI

    completions = OpenAI().chat.completions
    assert completions.create(**question("none")).choices[0].message.content == SAID
    pieces = [piece.choices[0].delta.content for piece in completions.create(stream=True, **question("none"))]
    assert "".join(pieces) == SAID and len(pieces) == 3


@client
async def openai_async():
    from openai import AsyncOpenAI

    assert [model.id async for model in AsyncOpenAI().models.list()] == ["gpt-none"]


@client
async def openai_realtime():
    from openai import AsyncOpenAI

    async with AsyncOpenAI().realtime.connect(model="none") as connection:
        assert (await connection.recv()).type == "session.created"


@client
def anthropic():
    from anthropic import Anthropic

    messages = Anthropic().messages
    assert messages.create(max_tokens=9, **question("none")).content[0].text == SAID
    with messages.stream(max_tokens=9, **question("none")) as stream:
        assert "".join(stream.text_stream) == SAID


@client
def pygithub():
    from github import Auth, Github

    assert Github(auth=Auth.Token(os.environ["GITHUB_TOKEN"])).get_user().login == "ada"


@client
def slack():
    from slack_sdk import WebClient

    assert WebClient(token=os.environ["SLACK_BOT_TOKEN"]).auth_test()["user"] == "ada"


@client
async def slack_async():
    from slack_sdk.web.async_client import AsyncWebClient

    assert (await AsyncWebClient(token=os.environ["SLACK_BOT_TOKEN"]).auth_test())["user"] == "ada"


@client
def notion():
    from notion_client import Client

    assert Client(auth=os.environ["NOTION_TOKEN"]).users.me()["id"] == "user-1"


@client
def stripe():
    from stripe import StripeClient

    assert StripeClient(os.environ["STRIPE_API_KEY"]).v1.balance.retrieve().object == "balance"


@client
def gmail():
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build

    service = build("gmail", "v1", credentials=Credentials(os.environ["GOOGLE_TOKEN"]))
    assert service.users().getProfile(userId="me").execute()["emailAddress"] == "ada@example.com"


@client
def google_auth():
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2.credentials import Credentials

    session = AuthorizedSession(Credentials(os.environ["GOOGLE_TOKEN"]))
    session.get("https://gmail.googleapis.com/gmail/v1/users/me/profile").raise_for_status()


@client
def google_genai():
    from google import genai

    service = genai.Client()
    assert service.models.generate_content(model="none", contents="what?").text == SAID


@client
def huggingface():
    from huggingface_hub import HfApi

    assert HfApi().whoami()["name"] == "ada"


@client
def boto3():
    from boto3 import client as service

    key = "authsome-proxy-managed"
    s3 = service("s3", region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=key)
    s3.list_buckets()


@client
def requests():
    import requests

    requests.get(USER, headers=bearer()).raise_for_status()


@client
def httpx():
    import httpx

    httpx.get(USER, headers=bearer()).raise_for_status()


@client
def httpx_http2():
    import httpx

    with httpx.Client(http2=True) as session:
        session.get(USER, headers=bearer()).raise_for_status()


@client
def httpx2():
    import httpx2

    httpx2.get(USER, headers=bearer()).raise_for_status()


async def aiohttp_get(**settings):
    """A call by aiohttp."""
    from aiohttp import ClientSession

    async with ClientSession(**settings) as session, session.get(USER, headers=bearer()) as answer:
        answer.raise_for_status()


@client
async def aiohttp():
    await aiohttp_get()


@client
async def aiohttp_trust_env():
    await aiohttp_get(trust_env=True)


@client
def urllib3():
    import urllib3

    assert urllib3.request("GET", USER, headers=bearer()).status == 200


@client
def urllib():
    from urllib.request import Request, urlopen

    with urlopen(Request(USER, headers=bearer())) as answer:
        answer.read()


@client
def http_client():
    from http.client import HTTPSConnection

    connection = HTTPSConnection("api.github.com")
    connection.request("GET", "/user", headers=bearer())
    assert connection.getresponse().status == 200


@client
def curl_cffi():
    import curl_cffi

    curl_cffi.get(USER, headers=bearer()).raise_for_status()


@client
def pycurl():
    import io

    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, USER)
    curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in bearer().items()])
    curl.setopt(pycurl.WRITEDATA, io.BytesIO())
    curl.perform()
    assert curl.getinfo(pycurl.RESPONSE_CODE) == 200


@client
def websockets():
    from websockets.sync.client import connect

    with connect(REALTIME, additional_headers=bearer("OPENAI_API_KEY")) as connection:
        assert "session.created" in connection.recv()
        connection.send("and back")
        assert connection.recv() == "and back"


@client
def websocket_client():
    from websocket import create_connection

    connection = create_connection(REALTIME, header=bearer("OPENAI_API_KEY"))
    assert "session.created" in connection.recv()
    connection.send("and back")
    assert connection.recv() == "and back"
    connection.close()


@client
def grpcio():
    import grpc

    with grpc.secure_channel("grpc.googleapis.com:443", grpc.ssl_channel_credentials()) as channel:
        sent = {"metadata": [("authorization", bearer("GOOGLE_TOKEN")["Authorization"])], "timeout": 15}
        assert channel.unary_unary("/compatibility.Echo/Once")(b"back", **sent) == b"back"
        assert list(channel.unary_stream("/compatibility.Echo/Thrice")(b"back", **sent)) == [b"back"] * 3


if __name__ == "__main__":
    called = CLIENTS[sys.argv[1]]
    asyncio.run(called()) if asyncio.iscoroutinefunction(called) else called()
