"""Who may use the real daemon's proxy, for how long, and to where (X66 to X72)."""

import base64
import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.rows_site import API, PLACEHOLDER, Agent, Site, eventually, request
from parts.canary import Canary
from parts.machine import HERE, need
from wire.wire_world import Message, Upstream, Wire

OTHER, SHAPED, FORMED, EVIL = "other.mock.test", "shaped.mock.test", "formed.mock.test", "evil.mock.test"
SHAPE = "sh_authsome_placeholder_0000"
PLAIN = "plain.mock.test"
SOON = 2.0  # seconds; a token is dead within one, and the machine may be busy


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Site]:
    need("curl")
    with Site(tmp_path_factory.mktemp("r"), canary) as site:
        site.resolve |= dict.fromkeys((OTHER, SHAPED, FORMED, EVIL), site.server.address)
        site.listen(PLAIN, Upstream(None))
        site.provider("other", OTHER)
        site.provider("shaped", SHAPED, placeholder=SHAPE)
        site.provider("formed", FORMED, body_fields=["token"])
        site.provider("evil", EVIL)
        site.start()
        for name in ("other", "shaped", "formed"):
            site.login(name, f"{name}-{canary.secret}")
        site.login("evil", "a-key-of-the-attackers")
        yield site


@pytest.fixture
def site(started: Site) -> Site:
    return started.fresh()


def outside(proxy: str, url: str = f"https://{API}/") -> str:
    """What a program outside any run is answered at the proxy: the status of a CONNECT, or of clear text."""
    argv = ["curl", "-s", "-o", os.devnull, "-w", "%{http_connect} %{http_code}", "-x", proxy, url]
    env = {"PATH": os.environ["PATH"]}  # no settings of whoever runs the tests
    connected, answered = subprocess.run(argv, capture_output=True, text=True, check=False, env=env).stdout.split()
    return connected if url.startswith("https:") else answered


# ── destinations ───────────────────────────────────────────────────────────────────────────────

METADATA = [
    "169.254.169.254:80", "169.254.170.2:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "metadata.google.internal:80",
    "[64:ff9b::a9fe:a9fe]:80", "[::ffff:169.254.169.254]:80", "0.0.0.0:80", "[::]:80", "169.254.1.1:443",
]  # fmt: skip


def test_x66_clouds_metadata_and_addresses_of_nobody_are_refused(site: Site) -> None:  # X66
    with site.agent() as agent:
        for authority in METADATA:
            clear = agent.raw(f"GET http://{authority}/latest HTTP/1.1\r\nHost: {authority}\r\n{{auth}}\r\n")
            for answer in (agent.connect(authority), clear):
                assert (answer.status, answer.error) == (403, "destination_refused"), (authority, answer)


def test_x66_the_daemon_is_not_reached_through_its_own_proxy(site: Site) -> None:  # X66
    with site.agent() as agent:
        proxy = agent.environment["HTTPS_PROXY"].rpartition(":")[2]
        for port in (str(site.home.port), proxy):
            for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.9.9.9"):
                clear = agent.raw(f"GET http://{host}:{port}/health HTTP/1.1\r\nHost: {host}:{port}\r\n{{auth}}\r\n")
                for answer in (agent.connect(f"{host}:{port}"), clear):
                    assert (answer.status, answer.error) == (403, "destination_refused"), (host, port, answer)
        for path in (str(site.home.path / "run" / "daemon.sock"), "unix:/run/daemon.sock"):
            assert agent.connect(path).status == 400
            unix = agent.raw(f"GET http+unix://{path.replace('/', '%2F')}/health HTTP/1.1\r\nHost: x\r\n{{auth}}\r\n")
            assert unix.status == 400
        assert agent.connect(site.servers[1].address).status == 200  # another program here is not authsome's to refuse


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────


def test_x67_nobody_uses_the_proxy_without_the_token_of_a_run(site: Site) -> None:  # X67
    with site.agent() as ended:
        dead = ended.environment["HTTPS_PROXY"]
    with site.agent() as agent:
        proxy = agent.environment["HTTPS_PROXY"]
        token, place = proxy.removeprefix("http://run:").split("@")
        assert eventually(lambda: outside(dead) == "407", SOON)
        before = [server.connections for server in site.servers]
        wrong = [
            f"http://{place}",
            f"http://run:@{place}",
            f"http://run:{token[:-1]}@{place}",
            f"http://{token}@{place}",
        ]
        for way in (*wrong, f"http://run:{'A' * len(token)}@{place}", f"http://me:{token}@{place}", dead):
            assert (way, outside(way)) == (way, "407")
            assert (way, outside(way, url=f"http://{PLAIN}/")) == (way, "407")
        assert [server.connections for server in site.servers] == before  # nothing was dialled
        assert agent.get().status == 200


def test_x67_the_token_of_another_run_opens_what_that_run_may_use_and_no_more(site: Site) -> None:  # X67
    with site.agent() as agent, site.agent("--only", "other") as other:
        assert agent.get().status == 200
        refused = other.get("/", f"Authorization: Bearer {PLACEHOLDER}")
        assert (refused.status, refused.error) == (403, "not_allowed")
        assert other.get("/bare").status == 200
        assert [(each.target, each.all("authorization")) for each in site.server.requests] == [
            ("/", [f"Bearer {site.key}"]), ("/bare", []),
        ]  # fmt: skip
        # a connection is one run's: the token of another does not take it over
        pair = "run:" + other.environment["HTTPS_PROXY"].removeprefix("http://run:").split("@")[0]
        second = f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
        clear = f"GET http://{PLAIN}/ HTTP/1.1\r\nHost: {PLAIN}\r\n"
        assert agent.raw(f"{clear}{{auth}}\r\n", on="kept").status == 200
        assert agent.raw(f"{clear}{second}\r\n", on="kept").status == 407
        assert len(site.servers[1].requests) == 1


# ── the end of a run ───────────────────────────────────────────────────────────────────────────


def is_over(site: Site, proxy: str, files: Path) -> bool:
    """Whether the run's token is dead, and its files are gone."""
    return outside(proxy) == "407" and not files.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_x69_a_signal_to_run_is_the_programs_and_the_end_of_it(site: Site, number: signal.Signals) -> None:  # X69
    with site.agent() as agent:
        proxy, files = agent.environment["HTTPS_PROXY"], agent.files
        assert agent.get().status == 200 and files.is_dir()
        os.kill(agent.process.pid, number)
        assert agent.process.wait(10) == -number
        assert eventually(lambda: is_over(site, proxy, files), SOON)


def test_x69_what_outlives_the_program_of_a_run_has_no_way_through_any_more(site: Site) -> None:  # X69
    child = shlex.join([sys.executable, str(HERE / "rows_child.py")])
    with site.cli.started("run", "--", "sh", "-c", f"{child}; true") as process:
        agent = Agent(process)
        assert agent.get(on="kept").status == 200
        os.kill(process.pid, signal.SIGKILL)  # the shell; what it started lives on
        assert eventually(lambda: is_over(site, agent.environment["HTTPS_PROXY"], agent.files), SOON)
        assert agent.get(on="kept").status == 0
        assert agent.get().status == 407
        assert len(site.server.requests) == 1


def test_x69_a_terminal_that_is_closed_ends_the_run(site: Site) -> None:  # X69
    shows = "print(os.environ['HTTPS_PROXY'], os.environ['SSL_CERT_FILE'], '.', flush=True)"
    script = f"import os, time; {shows}; time.sleep(60)"
    argv = site.cli.argv("run", "--", sys.executable, "-c", script)
    env = site.home.environment()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, env)
    shown, ends = b"", time.monotonic() + 30
    while b" ." not in shown and time.monotonic() < ends:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096)
    proxy, bundle, _ = shown.decode().split()
    assert outside(proxy) == "200"
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGHUP
    assert eventually(lambda: is_over(site, proxy, Path(bundle).parent), SOON)


def test_x69_what_a_run_left_behind_without_a_daemon_is_gone_at_its_next_start(site: Site) -> None:  # X69
    with site.agent() as agent:
        proxy, files, daemon = agent.environment["HTTPS_PROXY"], agent.files, site.daemon()
        os.kill(daemon, signal.SIGKILL)
        assert eventually(lambda: not Path(f"/proc/{daemon}").exists())
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait(10)
        assert files.is_dir()
        site.cli("daemon", "start").ok()
        assert is_over(site, proxy, files)


# ── logout and renewal ─────────────────────────────────────────────────────────────────────────


def test_x70_logout_and_login_hold_for_the_next_request_of_a_run(site: Site, canary: Canary) -> None:  # X70
    carries = f"Authorization: Bearer {PLACEHOLDER}"
    keys = [f"mk-{number}-{canary.secret}" for number in range(2)]
    with site.agent() as agent:
        assert agent.get("/before", carries, on="kept").status == 200
        site.cli("logout", "mock").ok()
        for on in ("kept", ""):  # the connection from before, and a new one
            refused = agent.get("/between", carries, on=on)
            assert (refused.status, refused.error) == (401, "needs_login")
            assert b"authsome login mock" in refused.body
        for key, options in zip((*keys, site.key), ((), ("--force",), ("--force",)), strict=True):
            site.login("mock", key, *options)
            for on in ("kept", ""):
                assert agent.get("/after", carries, on=on).status == 200
    used = [each.one("authorization").removeprefix("Bearer ") for each in site.server.requests]
    assert used == [site.key, keys[0], keys[0], keys[1], keys[1], site.key, site.key]


# ── placeholders ───────────────────────────────────────────────────────────────────────────────


def misplacements() -> dict[str, str]:
    basic = base64.b64encode(f"user:{SHAPE}".encode()).decode()
    return {
        "its header": request("/", f"Authorization: Bearer {SHAPE}"),
        "another header": request("/", f"X-Api-Key: {SHAPE}"),
        "the query": request(f"/?key={SHAPE}"),
        "the query, encoded": request(f"/?key={SHAPE.replace('_', '%5F')}"),
        "the path": request(f"/bot{SHAPE}/getMe"),
        "a pair for Basic": request("/", f"Authorization: Basic {basic}"),
        "a cookie": request("/", f"Cookie: session={SHAPE}"),
        "a name of a header": request("/", f"{SHAPE}: 1"),
        "unknown": request("/", f"Authorization: Bearer {PLACEHOLDER}:nobody"),
        "of an odd form": request("/", f"Authorization: Bearer {PLACEHOLDER}-x"),
        "the own one, elsewhere": request("/", f"X-Api-Key: {PLACEHOLDER}"),
    }


def test_x71_a_placeholder_where_it_has_no_business_is_refused(site: Site) -> None:  # X71
    with site.agent() as agent:
        for name, text in misplacements().items():
            (answer,) = agent.ask(text)
            assert answer.status == 403, (name, answer)
            assert answer.error in ("placeholder_refused", "connection_not_found"), (name, answer)
        body = json.dumps({"token": SHAPE})
        named = request("/", "Content-Type: application/json", host=FORMED, method="POST", body=body)
        (answer,) = agent.ask(named, host=FORMED)
        assert (answer.status, answer.error) == (403, "placeholder_refused")
    assert not site.server.requests


def test_x71_where_nothing_is_replaced_a_placeholder_is_text_and_stays_text(site: Site, canary: Canary) -> None:  # X71
    def upgrade(wire: Wire, received: Message) -> None:
        if received.all("upgrade"):
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            wire.send(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            wire.exactly(len(frame))
            wire.close()
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    frame = b"\x81" + bytes([0x80 | len(SHAPE)]) + bytes(4) + SHAPE.encode()  # masked with zeros
    wanted = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    site.server.handler = upgrade
    with site.agent() as agent:
        assert agent.ask(request("/", method="POST", body=SHAPE))[0].status == 200
        assert site.server.requests[0].body == SHAPE.encode()
        assert agent.ask(request("/ws", *wanted) + frame.decode("latin-1"))[0].status == 101
    assert eventually(lambda: any(wire.seen.endswith(frame) for wire in site.server.wires))
    for wire in site.server.wires:
        assert f"shaped-{canary.secret}".encode() not in wire.seen


def test_x72_a_provider_of_the_attackers_own_gets_no_credential_but_its_own(site: Site) -> None:  # X72
    with site.agent() as agent:
        for text in (f"Authorization: Bearer {SHAPE}", f"X-Key: {SHAPE}", "X-Authsome-Connection: mock"):
            assert agent.get("/", text, host=EVIL).status == 403
        assert not site.server.requests
        assert agent.get("/", f"Authorization: Bearer {PLACEHOLDER}", host=EVIL).status == 200
    assert [each.all("authorization") for each in site.server.requests] == [["Bearer a-key-of-the-attackers"]]


def test_x72_a_file_that_leads_a_stored_key_elsewhere_is_not_followed(site: Site, canary: Canary) -> None:  # X72
    file = site.home.path / "providers" / "mock.json"
    before = file.read_text()
    edited = json.dumps(json.loads(before) | {"api_url": ["elsewhere.odd.test", EVIL]})
    with contextlib.ExitStack() as stack:
        stack.callback(file.write_text, before)
        site.run(sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(file), edited).ok()
        with site.agent() as agent:
            assert agent.get("/", f"Authorization: Bearer {PLACEHOLDER}", host=EVIL).status == 200
            assert agent.get("/", f"Authorization: Bearer {PLACEHOLDER}").status == 200  # where it was pinned to
    first, second = site.server.requests
    assert first.one("authorization") == "Bearer a-key-of-the-attackers"
    assert (second.one("host"), second.one("authorization")) == (API, f"Bearer {site.key}")
