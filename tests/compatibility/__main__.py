"""`python -m compatibility [NAME ...]`, with tests/ on the path: sweeps all clients and writes docs/compatibility.md.

With names it sweeps only those, and writes nothing. Ends with 1 where a client fares other than is known of it.
"""

import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from e2e.account import SEEN
from parts.canary import Canary
from parts.command import run
from parts.fakenet import ADDRESS, SIDE_DOOR, SPARE, FakeNet
from parts.machine import missing, node
from parts.product import Cli, Home, free_port

from compatibility.judging import Attempt, Row, judge, page
from compatibility.table import ACCOUNTS, CLIENTS, PROGRAMS, SIGNED_HOSTS, Client

HERE = Path(__file__).resolve().parent
PYTHON = HERE / ".venv" / "bin" / "python"
PAGE = HERE.parent.parent / "docs" / "compatibility.md"
GRPC_HOST = "grpc.googleapis.com"
PATIENCE = 60.0
PLACE = "/var/tmp"  # /tmp is another one in an isolated run
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
ISOLATED = ("--isolate", *SEEN, *(f"--allow-host={host}" for host in SIGNED_HOSTS))


@contextmanager
def world(root: Path, canary: Canary) -> Iterator[Cli]:
    """The product, logged in everywhere, on an internet that insists on each credential."""
    with ExitStack() as ends:
        net = FakeNet(root / "net")
        ends.callback(net.close)
        address = {host: ADDRESS for account in ACCOUNTS for host in account.hosts}
        address.update({GRPC_HOST: SPARE} | dict.fromkeys(SIGNED_HOSTS, ADDRESS))
        server = [str(PYTHON), str(HERE / "clients" / "grpc_host.py"), SPARE, f"443,{SIDE_DOOR}"]
        ends.callback(net.play(GRPC_HOST, server).stop)
        for host in address:
            net.add_host(host)
        for host in SIGNED_HOSTS:
            net.insist(host, "Authorization", "a signature with the real key")
        home = Home(root, free_port(), net)
        for directory in (home.path, home.path / "providers", home.user, home.output):
            directory.mkdir(mode=0o700)
        doors = [f'"{host}" = "{where}:{SIDE_DOOR}"\n' for host, where in address.items()]
        (home.path / "config.toml").write_text("[resolve]\n" + "".join(doors))
        cli = Cli(home)
        ends.callback(home.close)
        for account in ACCOUNTS:
            if account.settings is not None:
                (home.path / "providers" / f"{account.provider}.json").write_text(json.dumps(account.file()))
            key = f"{account.prefix}{canary.secret}{canary.secret}"
            cli("login", account.provider, "--flow", "api_key", "--stdin", stdin=key).ok()
            for host in account.hosts:
                net.insist(host, *account.header(key))
        canary.watch(home.path)
        yield cli


def attempt(cli: Cli, client: Client, canary: Canary, *options: str) -> Attempt:
    """Let a client make its call, in a run of its own."""
    net = cli.home.net
    assert net is not None
    entries, greeted = len(net.journal()), len(net.greeted())
    try:
        result = cli("run", *options, "--", *command(client), timeout=PATIENCE)
        code, errors, out = result.code, result.err, result.out
    except AssertionError as error:
        code, errors, out = -9, str(error), ""
    canary.listen(f"what {client.name} printed", out + errors)
    return Attempt(code, errors, net.journal()[entries:], net.greeted()[greeted:])


def command(client: Client) -> list[str]:
    """The command line of a client."""
    match client.kind:
        case "Python":
            return [str(PYTHON), str(HERE / "clients" / "client.py"), client.name]
        case "Node":
            return [_node(client), str(HERE / "clients" / "client.mjs"), client.name]
        case "Programs":
            return PROGRAMS[client.name]


def _node(client: Client) -> str:
    """The Node that runs a client, or an empty text where there is none of its version."""
    if not client.major:
        return node()
    found = shutil.which("node", path=SYSTEM_PATH) or ""
    return found if found and run([found, "--version"]).out.startswith(f"v{client.major}.") else ""


def is_here(client: Client) -> bool:
    """Whether this machine has what a client runs on, beside what is installed for the sweep."""
    return bool(shutil.which(client.name) if client.kind == "Programs" else client.kind != "Node" or _node(client))


class Versions:
    """What is installed in the sweep's environments."""

    def __init__(self) -> None:
        places = [str(place) for place in HERE.glob(".venv/lib/python*/site-packages")]
        packages = importlib.metadata.distributions(path=places)
        self._python = {package.name.lower().replace("_", "-"): package.version for package in packages}

    def of(self, client: Client) -> str:
        """The version of a client's package, or of what it comes with."""
        match client.kind:
            case "Python" if client.package:
                return self._python[client.package.lower()]
            case "Python":
                return run([str(PYTHON), "--version"]).ok().out.strip()
            case "Node" if client.package:
                package = json.loads((HERE / "node_modules" / client.package / "package.json").read_text())
                return str(package["version"])
            case "Node":
                return f"Node {run([_node(client), '--version']).ok().out.strip().removeprefix('v')}"
            case "Programs":
                words = run([client.name, "--version"]).ok().out.split()
                return next(word for word in words if word[0].isdigit())


def main(names: list[str]) -> int:
    """The whole sweep, or those of the names."""
    if reason := missing("namespaces") or missing("isolation"):
        sys.exit(f"the private internet or an isolated run cannot be started: {reason}")
    if unknown := {*names} - {each.name for each in CLIENTS}:
        sys.exit(f"no client is called {', '.join(sorted(unknown))}")
    chosen = [each for each in CLIENTS if not names or each.name in names]
    absent = [each for each in chosen if not is_here(each)]
    rows: list[Row] = []
    canary, versions = Canary(), Versions()
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=PLACE) as root, world(Path(root), canary) as cli:
        for client in (each for each in chosen if each not in absent):
            tried, confined = attempt(cli, client, canary), attempt(cli, client, canary, *ISOLATED)
            row = judge(client, versions.of(client), tried, confined)
            rows.append(row)
            print(row, flush=True)
            if not row.is_as_known:
                print(f"expected: {client.expected}\n{tried}", flush=True)
                print(f"expected under --isolate: {client.expected_isolated}\n{confined}", flush=True)
        cli.home.close()
        leaks = canary.leaks()
    if not names:
        PAGE.write_text(page(rows))
    wrong = [row.client for row in rows if not row.is_as_known]
    for line in (
        *(f"not as known: {client.kind} {client.name}" for client in wrong),
        *(f"not on this machine, left out: {client.title}" for client in absent),
        *(f"the key leaked: {leak}" for leak in leaks),
    ):
        print(line)
    print(f"{len(rows) - len(wrong)} clients as known, {len(wrong)} not")
    return 1 if wrong or leaks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
