"""What the real daemon leaves in files, processes, logs and answers, when all goes well and when not (X74, X75)."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from e2e.rows_issuer import MET, Issuer
from e2e.rows_site import API, Site, eventually
from parts.browser import Browser
from parts.canary import Canary
from parts.machine import need
from parts.product import Cli
from wire.wire_world import Upstream

STORE = ("vault.db", "vault.db-wal")
WIKI, PLAIN = "wiki.mock.test", "plain.mock.test"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, canary: Canary) -> Iterator[Site]:
    need("setpriv")
    with Site(tmp_path_factory.mktemp("r"), canary) as site:
        site.resolve[WIKI] = site.server.address
        site.listen(PLAIN, Upstream(None))
        site.start()
        yield site


@pytest.fixture
def site(started: Site) -> Site:
    return started.fresh()


# ── X74 ────────────────────────────────────────────────────────────────────────────────────────


def found(site: Site, forms: dict[str, bytes]) -> list[str]:
    """Where any of these stands: all files of the home, its owner and TMPDIR, and what any process was started with."""
    places = [path for path in site.home.root.rglob("*") if path.is_file()]
    places += [path for name in ("environ", "cmdline") for path in Path("/proc").glob(f"[0-9]*/{name}")]
    hits = []
    for path in places:
        with suppress(OSError):  # gone by now, or not ours to read
            content = path.read_bytes()
            hits += [f"{path}: {name}" for name, form in forms.items() if form in content]
    return hits


def stored(site: Site) -> list[bytes]:
    """What is sealed in the rows of connections, as it stands in the file."""
    with sqlite3.connect(f"file:{site.home.path / 'vault.db'}?mode=ro", uri=True) as store:
        rows = store.execute("SELECT * FROM connections WHERE provider = 'wiki'").fetchall()
    store.close()
    return [value for row in rows for value in row if isinstance(value, bytes) and len(value) > 16]


def test_x74_no_secret_of_a_login_is_left_anywhere(site: Site, canary: Canary) -> None:  # X74
    hits: dict[str, list[str]] = {}
    issuer = Issuer(site, canary.secret, lambda path: hits.setdefault(path, []).extend(found(site, issuer.forms())))
    issuer.provider("wiki", WIKI)
    site.server.handler = issuer
    browser = Browser(ca=site.ca).environment()
    site.cli("login", "wiki", env=browser).ok()
    assert set(hits) == {"/register", "/authorize", "/token"} and not any(hits.values()), hits
    assert len(issuer.secrets) == 6
    sealed = stored(site)
    assert sealed and any(blob in (site.home.path / name).read_bytes() for blob in sealed for name in STORE)
    with site.agent() as agent:
        assert agent.get("/", host=WIKI).status == 404  # by the API of this server, which got the token
        assert found(site, issuer.forms()) == []
    assert site.server.requests[-1].one("authorization") == f"Bearer {issuer.secrets['access_token']}"
    for argv in (["list", "--json"], ["get", "wiki", "--json"], ["log", "--json"], ["doctor"], ["daemon", "logs"]):
        site.cli(*argv)
    assert found(site, issuer.forms()) == []
    site.cli("logout", "wiki").ok()
    assert set(hits) == set(MET) and not hits["/revoke"]
    for _ in range(2):  # while the daemon goes on, and after its end: free pages and the log of SQLite included
        assert found(site, issuer.forms()) == []
        left = [path for path in site.home.path.glob("vault.db*") for blob in sealed if blob in path.read_bytes()]
        assert left == []
        site.cli("daemon", "restart").ok()


READER = """
import sys
for name in ("environ", "maps", "mem"):
    try:
        with open(f"/proc/{sys.argv[1]}/{name}", "rb") as file:
            if name == "mem":
                with open(f"/proc/{sys.argv[1]}/maps") as maps:
                    file.seek(int(maps.readline().split("-")[0], 16))
            file.read(16)
    except OSError as error:
        print(name, error.strerror)
    else:
        print(name, "read")
"""


def ordinary(*command: str) -> list[str]:
    """A command of a user who has no right that others have not; where root runs the tests, it lays its own down."""
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command] if os.geteuid() == 0 else [*command]


class Unlimited(Cli):
    """A command line, and so a daemon, that may leave core files as large as the system lets it."""

    def argv(self, *arguments: str) -> list[str]:
        return ordinary("sh", "-c", 'ulimit -c "$(ulimit -Hc)" && exec "$@"', "sh", *super().argv(*arguments))


def test_x74_neither_a_core_file_nor_another_process_shows_the_daemons_memory(
    tmp_path_factory: pytest.TempPathFactory, canary: Canary
) -> None:  # X74
    with Site(tmp_path_factory.mktemp("r"), canary) as site:
        site.cli = Unlimited(site.home)
        site.start()
        with site.agent() as agent:
            assert agent.get().status == 200  # the key is in its memory
            pid, other = site.daemon(), agent.process.pid
            shown = {}
            for each in (other, pid):
                reader = ordinary(sys.executable, "-c", READER, str(each))
                shown[each] = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
            # what a process of the user can do to another, it cannot do to the daemon
            assert shown[other][:2] == ["environ read", "maps read"]  # the third some systems keep to debuggers
            assert shown[pid] == [f"{name} Permission denied" for name in ("environ", "maps", "mem")]
            limits = {each: Path(f"/proc/{each}/limits").read_text() for each in (other, pid)}
            assert re.search(r"Max core file size +0 +0 ", limits[pid])
            assert resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 or not re.search(
                r"core file size +0 ", limits[other]
            )
        before = set(site.home.root.rglob("*"))
        os.kill(pid, signal.SIGABRT)
        assert eventually(lambda: not Path(f"/proc/{pid}").exists())
        assert [path for path in set(site.home.root.rglob("*")) - before if "core" in path.name] == []


# ── X75 ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def at_limit(pid: int, limit: int, value: int) -> Iterator[None]:
    """A process that the system refuses something; as an owner's disk or table of files does when it is full."""
    soft, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, limit, (soft, hard))


def check_is_discreet(text: str, canary: Canary) -> None:
    """Neither a traceback nor what was in the hands of the code."""
    assert canary.secret not in text and "Traceback" not in text and 'File "' not in text, text


def test_x75_a_call_that_breaks_tells_a_number_that_the_log_has_too(site: Site, canary: Canary) -> None:  # X75
    with at_limit(site.daemon(), resource.RLIMIT_FSIZE, 65536):  # the bundle of a run is longer
        broken = site.run("true")
        told = site.cli("run", "--json", "--", "true").out
    assert broken.code == 1 and broken.out == ""
    check_is_discreet(broken.err + told, canary)
    (number,) = re.findall(r"something broke inside the daemon \(([0-9a-f]{8})\)", broken.err)
    assert json.loads(told)["error"] == "unexpected"
    log = site.log()
    assert number in log and "OSError" in log and canary.secret not in log
    assert site.run("true").ok()


def test_x75_a_vault_that_cannot_be_written_is_said_and_lends_what_it_has(site: Site, canary: Canary) -> None:  # X75
    with site.agent() as agent:
        assert agent.get().status == 200
        with at_limit(site.daemon(), resource.RLIMIT_FSIZE, 0):
            refused = site.cli("login", "mock", "--stdin", "--force", stdin=f"mk-new-{canary.secret}")
            assert agent.get().status == 200
        assert refused.code not in (0, 64) and "hint:" in refused.err
        check_is_discreet(refused.out + refused.err, canary)
        assert canary.secret not in site.log()
        assert agent.get().status == 200
    assert {each.one("authorization") for each in site.server.requests} == {f"Bearer {site.key}"}
    site.login("mock", site.key, "--force")  # and it recovers


def test_x75_a_request_that_breaks_in_the_proxy_is_answered_without_what_it_held(
    site: Site, canary: Canary
) -> None:  # X75
    clear = f"GET http://{PLAIN}/ HTTP/1.1\r\nHost: {PLAIN}\r\n{{auth}}\r\n"
    pid = site.daemon()
    with site.agent() as agent:
        assert agent.raw(clear, on="kept").status == 200
        with at_limit(pid, resource.RLIMIT_NOFILE, 3):  # no leaf can be made: that takes a file
            answer = agent.connect(f"{API}:443", on="kept")
        assert (answer.status, answer.error) == (500, "unexpected")
        (number,) = re.findall(rb"something broke inside authsome \(([0-9a-f]{8})\)", answer.body)
        assert number.decode() in site.log() and "OSError" in site.log()
        check_is_discreet(answer.body.decode() + site.log().rpartition(number.decode())[2], canary)
        assert canary.secret not in site.log()
        assert agent.get().status == 200  # the next one finds all as it was
