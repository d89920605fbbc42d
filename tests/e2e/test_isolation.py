"""`run --isolate`: programs that ignore every proxy variable are served, and nothing else is reached (P5, level C)."""

import contextlib
import json
import os
import pty
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.account import NAMES, SEEN, Account, account
from parts.canary import Canary
from parts.fakenet import FakeNet
from parts.fakenet_server import BUNDLES
from parts.machine import HERE, need, node
from parts.pki import Authority
from parts.product import Cli

from authsome.cli.isolate import landlock

pytestmark = pytest.mark.isolation  # by make isolation: not every machine allows namespaces within namespaces

KEY = "sk-proj-{}abcdefgh"
HOST = "api.openai.com"

# Python's clients without proxies: http.client knows none, the others are told to use none
PYTHON = {
    "http.client": """
import http.client
there = http.client.HTTPSConnection("api.openai.com")
there.request("GET", "/v1/models", headers={"Authorization": "Bearer " + key})
print(there.getresponse().status)
""",
    "urllib.request": """
import urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
asked = urllib.request.Request("https://api.openai.com/v1/models", headers={"Authorization": "Bearer " + key})
print(opener.open(asked).status)
""",
    "urllib3": """
import urllib3
url = "https://api.openai.com/v1/models"
print(urllib3.request("GET", url, headers={"Authorization": "Bearer " + key}).status)
""",
    "asyncio": """
import asyncio

async def ask():
    reader, writer = await asyncio.open_connection("api.openai.com", 443, ssl=True)
    fields = f"Host: api.openai.com\\r\\nAuthorization: Bearer {key}\\r\\n"
    writer.write(f"GET /v1/models HTTP/1.1\\r\\n{fields}\\r\\n".encode())
    print((await reader.readline()).split()[1].decode())
    writer.close()
asyncio.run(ask())
""",
}
NODE = {
    "https": """
require("https").get("https://api.openai.com/v1/models", {headers: {authorization: "Bearer " + key}},
  answer => { console.log(answer.statusCode); answer.resume() })
""",
    "fetch": """
fetch("https://api.openai.com/v1/models", {headers: {authorization: "Bearer " + key}})
  .then(answer => console.log(answer.status))
""",
    "ws": f"""
const {{ WebSocket }} = require({str(HERE / "node_modules" / "ws")!r})
const socket = new WebSocket("wss://api.openai.com/v1/realtime", {{headers: {{authorization: "Bearer " + key}}}})
socket.on("message", text => {{ console.log(JSON.parse(text).type == "session.created" && 200); process.exit() }})
""",
}


@pytest.fixture(scope="module", params=NAMES)
def connected(request: pytest.FixtureRequest, internet: FakeNet, canary: Canary) -> Iterator[Account]:
    """An account that is logged in to openai."""
    with account(request.param, internet, canary) as who:
        who("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
        yield who


@pytest.fixture
def who(connected: Account, internet: FakeNet, canary: Canary) -> Account:
    """That, on an internet without a history where the host insists on the real key."""
    internet.reset()
    internet.insist(HOST, "authorization", f"Bearer {KEY.format(canary.secret)}")
    return connected


@contextlib.contextmanager
def running(who: Account, text: str) -> Iterator["subprocess.Popen[str]"]:
    """A shell in isolation beside the test, that has said its first line. What is left of it at the end is killed."""
    command = who.command([*who.program, "run", "--isolate", *SEEN, "--", "sh", "-c", text], who.project)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=who.environment(), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            for pid in pids(text):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def marked(text: str) -> str:
    """A script that no other test runs: its processes are found by it."""
    return f"{text}; : {secrets.token_hex(8)}"


def pids(mark: str) -> list[int]:
    """The processes that were started with this in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def supervisor_of(who: Account, mark: str) -> int:
    """The outermost of authsome's own processes of a run."""
    ours = [
        pid for pid in pids(mark) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"{who.python}\0".encode())
    ]
    above = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in ours}
    (first,) = [pid for pid in ours if above[pid] not in ours]
    return first


def gone(mark: str) -> bool:
    """Whether they end within a few seconds."""
    ends = time.monotonic() + 10
    while pids(mark) and time.monotonic() < ends:
        time.sleep(0.05)
    return not pids(mark)


# who is served


@pytest.mark.parametrize("client", PYTHON)
def test_a_python_client_that_ignores_the_variables_is_served(who: Account, internet: FakeNet, client: str) -> None:
    # X80
    text = 'import os\nkey = os.environ["OPENAI_API_KEY"]\n' + PYTHON[client]
    assert who.isolated(who.python, "-c", text).ok().out == "200\n"
    assert [entry.authorized for entry in internet.journal(HOST)] == [True]


@pytest.mark.parametrize("client", NODE)
def test_a_node_client_that_ignores_the_variables_is_served(who: Account, internet: FakeNet, client: str) -> None:
    # X80
    need("node")
    program = who.usable(node())
    text = "const key = process.env.OPENAI_API_KEY;" + NODE[client]
    done = who.isolated("env", "-u", "NODE_USE_ENV_PROXY", program, "-e", text).ok()
    assert done.out == "200\n"
    assert [entry.authorized for entry in internet.journal(HOST)] == [True]


def test_a_client_that_honours_them_is_served(who: Account, internet: FakeNet) -> None:
    need("curl")
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}", f"https://{HOST}/v1/models"]
    assert who.isolated(*argv).ok().out.startswith("200")
    assert who.isolated("curl", "--noproxy", "*", *argv[1:]).ok().out.startswith("200")
    assert [entry.authorized for entry in internet.journal(HOST)] == [True, True]


OWN_ROOTS = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
print(urllib.request.urlopen("https://api.openai.com/v1/models", context=context).status)
"""


def test_a_client_with_roots_of_its_own_is_served(who: Account, internet: FakeNet) -> None:
    """By a link too; one that leads nowhere is no obstacle."""
    library = who.project / ".venv" / "lib" / "python3.11" / "site-packages"
    bundle, real = library / "certifi" / "cacert.pem", library / "roots" / "cacert.pem"
    for link, target in ((bundle, real), (library / "botocore" / "cacert.pem", who.project / "gone")):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    held = Authority("Some public CA").pem.decode()
    real.parent.mkdir()
    real.write_text(held)
    real.chmod(0o644)
    assert who.isolated(who.python, "-c", OWN_ROOTS, str(bundle)).ok().out == "200\n"
    assert real.read_text() == held


def test_a_project_cannot_have_another_file_of_the_persons_replaced(who: Account, internet: FakeNet) -> None:
    """One run leaves a link where a package has its certificates; the next finds what it leads to as it is."""
    bundle = who.project / ".venv" / "lib" / "python3.11" / "site-packages" / "certifi" / "cacert.pem"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    for target in ("/etc/passwd", shutil.which("env", path="/usr/bin:/bin")):
        bundle.unlink(missing_ok=True)
        bundle.symlink_to(str(target))
        assert who.isolated("cksum", str(target)).ok().out == who.at_project("run", "--", "cksum", str(target)).ok().out


def test_a_client_that_trusts_the_systems_bundle_alone_is_served(who: Account) -> None:
    bundle = next(path for path in BUNDLES if Path(path).is_file())
    assert who.isolated("env", "-u", "SSL_CERT_FILE", who.python, "-c", OWN_ROOTS, bundle).ok().out == "200\n"


@pytest.mark.parametrize("place", ["project/own.pem", "user/.aws/own.pem"])
def test_a_client_with_roots_in_a_file_that_is_named_is_served(who: Account, internet: FakeNet, place: str) -> None:
    """Among what is hidden it has to be named twice; what it held before is trusted in there as well."""
    own = who.home.root / place
    own.parent.mkdir(exist_ok=True)
    held = Authority("A CA of the owner's").pem.decode()
    own.write_text(held)
    own.chmod(0o644)
    who.owns(own.parent, own)
    options: tuple[str, ...] = ("--trust-file", str(own))
    assert who.isolated(who.python, "-c", OWN_ROOTS, str(own)).code == 1
    if place.startswith("user"):
        refused = who.isolated("true", options=options)
        assert refused.code == 64 and f"--trust-file {own} is hidden" in refused.err
        options += ("--allow-read", str(own))
    assert who.isolated(who.python, "-c", OWN_ROOTS, str(own), options=options).ok().out == "200\n"
    assert held in who.isolated("cat", str(own), options=options).ok().out
    assert who.isolated("sh", "-c", f"echo x > {own}", options=options).code != 0
    assert own.read_text() == held


def test_hosts_that_are_allowed_are_reached_and_seen_as_they_are(who: Account, internet: FakeNet) -> None:
    need("curl")
    for name in ("one.example.net", "two.sub.example.net", "example.net"):
        internet.add_host(name)
    options = ("--allow-host", "*.example.net", "--allow-host", "api.github.com")
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"]
    for name in ("one.example.net", "two.sub.example.net", "api.github.com"):
        assert who.isolated(*curl, f"https://{name}/echo", options=options).out == "200", name
    assert who.isolated(*curl, "https://example.net/echo", options=options).code == 6  # it does not resolve
    through = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_connect}"]
    assert who.isolated(*through, "https://example.net/echo", options=options).out == "403"
    assert not internet.journal("example.net")
    events = json.loads(who("log", "--json", "-n", "20").ok().out)["events"]
    assert {e["error"] for e in events if e["kind"] == "Denied" and e["host"] == "example.net"} == {"host_not_allowed"}


def test_a_host_of_a_provider_that_is_not_lent_is_not_reached(who: Account, canary: Canary) -> None:
    need("curl")
    who("login", "anthropic", "--stdin", stdin=f"sk-ant-{canary.secret}").ok()
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", "https://api.anthropic.com/echo"]
    assert who.isolated(*curl).out == "200"
    assert who.isolated(*curl, options=["--only", "openai"]).code == 6
    who("logout", "anthropic").ok()


def test_clear_text_to_a_routed_host_is_refused_in_words(who: Account, internet: FakeNet) -> None:  # X09
    need("curl")
    done = who.isolated("curl", "-sS", "--noproxy", "*", "-w", "%{http_code}", f"http://{HOST}/v1/models").ok()
    assert done.out.endswith("403") and "port_not_routed" in done.out
    assert not internet.journal(HOST)


def test_names_resolve_over_tcp_too_and_only_to_ipv4(who: Account) -> None:
    text = f"""
import socket, struct
print(len(socket.getaddrinfo("{HOST}", 443, type=socket.SOCK_STREAM)))
name = b"".join(bytes([len(part)]) + part for part in b"{HOST}".split(b"."))
query = b"\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\0\\1\\0\\1"
sock = socket.create_connection(("127.0.0.1", 53))
sock.sendall(struct.pack("!H", len(query)) + query)
answer = sock.recv(512)
print(socket.inet_ntoa(answer[-4:]) == socket.gethostbyname("{HOST}"))
"""
    assert who.isolated(who.python, "-c", text).ok().out == "1\nTrue\n"


# what is seen


def test_the_current_directory_is_writable_and_little_else(who: Account) -> None:
    (who.project / "sub").mkdir(exist_ok=True)
    who.owns(who.project / "sub")
    mark = secrets.token_hex(8)
    text = (
        f"touch sub/made && echo yes; touch /usr/x /etc/x $HOME/x 2>/dev/null || echo no; touch /tmp/{mark} && ls /tmp"
    )
    assert who.isolated("sh", "-c", text).ok().out == f"yes\nno\n{mark}\n"
    assert (who.project / "sub" / "made").exists() and not (Path("/tmp") / mark).exists()
    kept = who.home.user / "kept"
    kept.mkdir(exist_ok=True)
    who.owns(kept)
    who.isolated("touch", str(kept / "made"), options=["--allow-write", str(kept)]).ok()
    assert (kept / "made").exists()


def test_places_with_credentials_are_hidden_unless_they_are_named(who: Account) -> None:
    for name in (".aws/config", ".netrc", ".config/gh/hosts.yml"):
        path = who.home.user / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a password\n")
        who.owns(path, path.parent)
    text = f"cat {who.home.user}/.aws/config {who.home.user}/.netrc {who.home.user}/.config/gh/hosts.yml 2>/dev/null"
    assert who.isolated("sh", "-c", text).out == ""
    options = ["--allow-read", str(who.home.user / ".aws")]
    assert who.isolated("sh", "-c", text, options=options).out == "a password\n"
    options = ["--allow-read", str(who.home.user)]  # naming what lies around them is not enough
    assert who.isolated("sh", "-c", text, options=options).out == ""


def test_authsome_itself_cannot_be_named(who: Account) -> None:
    for option in ("--allow-read", "--allow-write"):
        for path in (who.home.path, who.home.path / "run"):
            assert who.isolated("true", options=[option, str(path)]).code == 4
    assert who.isolated("true", options=["--allow-read", "/nowhere"]).code == 64
    assert who.at_project("run", "--allow-host", "example.net", "--", "true").code == 64


def test_its_own_command_line_says_that_it_stands_inside_a_run(who: Account) -> None:
    where = (f"AUTHSOME_HOME={who.home.path}", f"AUTHSOME_PORT={who.home.port}")
    done = who.isolated("env", *where, *who.program, "list")
    assert done.code == 9 and "inside an isolated run the daemon is out of reach" in done.err


def test_what_leads_to_a_hidden_place_cannot_be_renamed(who: Account) -> None:
    """Else another home could be put where the next command looks for it."""
    deep = who.home.root / "a" / "b"
    deep.mkdir(parents=True, exist_ok=True)
    who.owns(who.home.root / "a", deep)
    elsewhere = {"AUTHSOME_HOME": str(deep / "home"), "AUTHSOME_PORT": str(who.home.port + 1)}
    try:
        text = """
import os
for path in ("a/b", "a/b/home", "a/b/home/run"):
    try:
        os.rename(path, "a/elsewhere")
    except OSError as error:
        print(path)
print(os.path.exists("a/b/home/vault.db"), os.path.exists("a/b/home/run"))
"""
        options = [*SEEN, "--allow-write", str(who.home.root / "a")]
        who.isolated("true", env=elsewhere).ok()
        argv = who.command([*who.program, "run", "--isolate", *options, "--", who.python, "-c", text], who.home.root)
        done = subprocess.run(argv, env=who.environment(elsewhere), capture_output=True, text=True, check=False)
        assert done.stdout == "a/b\na/b/home\na/b/home/run\nFalse True\n", done.stderr
        assert (deep / "home" / "vault.db").exists()
    finally:
        who("daemon", "stop", env=elsewhere)


def test_a_home_directory_stays_as_it_is(who: Account) -> None:
    argv = who.command([*who.program, "run", "--isolate", "--", "touch", "made"], who.home.user)
    done = subprocess.run(argv, env=who.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "can only be read" in done.stderr
    argv = who.command([*who.program, "run", "--isolate", "--", "true"], who.home.path)
    assert subprocess.run(argv, env=who.environment(), capture_output=True, check=False).returncode == 4


def test_descriptors_that_lead_outside_are_closed(who: Account) -> None:
    text = f"""
import os, subprocess, sys
os.set_inheritable(os.open("/", os.O_RDONLY), True)
with open("data", "w") as data:
    os.set_inheritable(data.fileno(), True)
    kept = data.fileno()
    code = "import os; print([n for n in range(99) if os.path.exists(f'/proc/self/fd/{{n}}')])"
    command = ["run", "--isolate", *{SEEN!r}, "--", sys.executable, "-c", code]
    subprocess.run({who.program!r} + command, close_fds=False, check=True)
print([0, 1, 2, kept])
"""
    argv = who.command([who.python, "-c", text], who.project)
    first, second = subprocess.run(
        argv, env=who.environment(), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert first == second


def test_variables_that_lead_to_agents_are_gone(who: Account) -> None:
    agents = {"SSH_AUTH_SOCK": "/run/agent", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus", "DISPLAY": ":0"}
    out = who.isolated("env", env=agents).ok().out
    assert not [name for name in agents if f"{name}=" in out]
    assert "HTTPS_PROXY=http://127.0.0.1:3128\n" in out and "AUTHSOME_RUN=" in out


def test_an_agent_that_is_named_is_reached(who: Account) -> None:
    import socket

    path = who.home.root / "agent.sock"
    text = """
import os, socket
socket.socket(socket.AF_UNIX).connect(os.environ["SSH_AUTH_SOCK"])
print("reached")
"""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        who.owns(path)
        env = {"SSH_AUTH_SOCK": str(path)}
        assert who.isolated(who.python, "-c", text, env=env).code == 1
        assert who.isolated(who.python, "-c", text, env=env, options=["--allow-write", str(path)]).out == "reached\n"
    path.unlink()


# how it lives and ends


def test_the_exit_status_is_the_commands(who: Account) -> None:
    assert who.isolated("sh", "-c", "exit 7").code == 7
    assert who.isolated("sh", "-c", "kill -KILL $$").code == 137
    assert who.isolated("/nonexistent/command").code == 127
    assert who.isolated("/etc/hosts").code == 126
    assert who.isolated("sh", "-c", "echo err >&2").err == "err\n"


def test_signals_reach_the_command(who: Account) -> None:
    text = marked("trap 'echo term; exit 3' TERM; trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")
    with running(who, text) as process:
        supervisor = supervisor_of(who, text)
        os.kill(supervisor, signal.SIGHUP)
        assert process.stdout is not None and process.stdout.readline() == "hup\n"
        os.kill(supervisor, signal.SIGTERM)
        assert process.stdout.readline() == "term\n"
        assert process.wait(10) == 3


def test_a_killed_supervisor_takes_everything_along(who: Account) -> None:
    text = marked("sleep 300 & echo ready; sleep 300")
    with running(who, text) as process:
        os.kill(supervisor_of(who, text), signal.SIGKILL)
        assert gone(text)
        assert process.wait(10) != 0


def test_it_cannot_signal_what_stands_beside_it(cli: Cli) -> None:
    """A signal to its group would reach the rest of the pipeline; Landlock keeps it in."""
    need("isolation")
    program = cli.argv("run", "--isolate", "--", "sh", "-c", "kill -KILL 0")
    text = f"sleep 302 & {shlex.join(program)}; kill -0 $! && echo alive; kill $!"
    argv = ["sh", "-c", text]
    done = subprocess.run(
        argv,
        cwd=cli.home.output,
        env=cli.home.environment(),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.stdout == "alive\n") is (landlock.version() >= 6)


def test_what_the_command_leaves_behind_ends_with_it(who: Account) -> None:
    left = marked("sleep 300")
    text = 'setsid sh -c "$1" >/dev/null 2>&1 & sleep 0.2; cat /proc/[0-9]*/cmdline | grep -c "sleep 300"'
    assert int(who.isolated("sh", "-c", text, "sh", left).ok().out) > 0
    assert gone(left)


def test_orphans_are_buried(who: Account) -> None:
    text = "for i in 1 2 3; do (true &) ; done; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '"
    assert who.isolated("sh", "-c", text).out == "0\n"


def test_whoever_reads_its_output_learns_when_it_closes_it(who: Account) -> None:
    inner = '"$@" 2>/dev/null | { cat; echo closed; }'
    text = marked("exec >&-; read line")
    command = [*who.program, "run", "--isolate", *SEEN, "--", "sh", "-c", text]
    argv = who.command(["sh", "-c", inner, "sh", *command], who.project)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=who.environment(), stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "closed\n"
        assert pids(text)
        process.stdin.close()


def test_the_run_goes_on_after_a_restart_of_the_daemon(who: Account, internet: FakeNet) -> None:
    need("curl")
    curl = "curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' --retry 20 --retry-all-errors --retry-delay 1 "
    curl += f"https://{HOST}/v1/models 2>/dev/null"
    with running(who, f"{curl} >first; echo ready; read line; {curl}") as process:
        who("daemon", "restart").ok()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "200\n"
        assert process.wait(30) == 0
    assert (who.project / "first").read_text() == "200\n"


def test_where_the_system_forbids_it_nothing_starts(who: Account) -> None:
    need("unshare")
    inner = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = [*who.program, "run", "--isolate", "--", "touch", "started"]
    argv = who.command(["unshare", "--user", "--map-root-user", "sh", "-c", inner, "sh", *command], who.project)
    who("daemon", "start").ok()
    done = subprocess.run(argv, env=who.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "user namespaces are switched off" in done.stderr and "sysctl" in done.stderr
    assert not (who.project / "started").exists()


def test_the_daemon_serves_it_where_there_are_workers(who: Account, internet: FakeNet) -> None:
    config = who.home.path / "config.toml"
    config.write_text("workers = 2\n")
    who.owns(config)
    try:
        who("daemon", "restart").ok()
        text = 'import os\nkey = os.environ["OPENAI_API_KEY"]\n' + PYTHON["http.client"]
        assert who.isolated(who.python, "-c", text).ok().out == "200\n"
        assert [entry.authorized for entry in internet.journal(HOST)] == [True]
    finally:
        config.unlink()
        who("daemon", "restart").ok()


@pytest.mark.parametrize(("key", "said", "code"), [(b"\x03", b"int\r\n", 4), (b"\x1c", b"quit\r\n", 5)])
def test_a_terminal_is_the_commands(cli: Cli, key: bytes, said: bytes, code: int) -> None:
    """Its keys reach the command, and once; not through the private internet, whose door takes them too."""
    need("isolation")
    text = "trap 'echo int; exit 4' INT; trap 'echo quit; exit 5' QUIT; tty -s </dev/tty && echo ready; read line"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cli.home.output)
        argv = cli.argv("run", "--isolate", "--", "sh", "-c", text)
        os.execve(argv[0], argv, cli.home.environment())
    try:
        _until(terminal, b"ready\r\n")
        os.write(terminal, key)
        assert _until(terminal, said).count(said) == 1
    finally:
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == code


def test_a_stopped_command_stops_the_job(cli: Cli) -> None:
    need("isolation")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cli.home.output)
        argv = cli.argv("run", "--isolate", "--", "sh", "-c", "echo ready; read line; echo $line")
        if os.fork() == 0:  # a shell above: who has nobody to go on with is not stopped by a terminal
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execve(argv[0], argv, cli.home.environment())
        job, status = os.waitpid(-1, os.WUNTRACED)
        os.write(1, b"stopped\n" if os.WIFSTOPPED(status) else b"ended\n")
        os.killpg(job, signal.SIGCONT)
        status = os.waitpid(job, 0)[1]
        os._exit(os.waitstatus_to_exitcode(status))
    try:
        _until(terminal, b"ready\r\n")
        os.write(terminal, b"\x1a")
        _until(terminal, b"stopped\r\n")
        os.write(terminal, b"on\n")
        _until(terminal, b"on\r\non\r\n")
    finally:
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def _until(terminal: int, mark: bytes) -> bytes:
    seen, ends = b"", time.monotonic() + 20
    while mark not in seen and time.monotonic() < ends:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)
    assert mark in seen, seen
    return seen
