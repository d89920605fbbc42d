"""Every call of the owner's API with what its own description allows and forbids, by schemathesis (W07, W14, X75, P23).

As the owner, from inside a run, and at the browser's port, where none of it is served.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import schemathesis
from e2e import relay
from e2e.doors import Doors
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parts.canary import Canary
from parts.product import Cli
from requests import Session
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES, FEW = 30, 8
KEY = "sk-proj-{}abcdefgh"

Call = tuple[str, str]
STOP: Call = ("POST", "/daemon/stop")  # ends what is tested; see test_stop…
BEGIN: Call = ("POST", "/runs")  # makes a run of who calls it: it has a relay of its own, which is of no use afterwards
REVEALING: set[Call] = {("GET", "/connections/{provider}/fields/{field}"), ("POST", "/exports")}
HARMLESS: set[Call] = {  # what a program inside a run may ask
    ("GET", "/health"),
    ("GET", "/whoami"),
    ("GET", "/doctor"),
    ("GET", "/connections"),
    ("GET", "/connections/{provider}"),
    ("GET", "/connections/{provider}/fields/{field}"),
    ("GET", "/providers"),
    ("GET", "/providers/{name}"),
}


# what there is, or could be: for members and parameters of these names, now and then
REAL: dict[str, list[object]] = {
    "provider": ["openai", "*", "openai\x00", "../openai"],
    "name": ["openai", "github", "fuzzed"],
    "connection": ["default", "work", None],
    "field": ["api_key", "status", "refresh_token", "provider"],
    "show_secret": ["true"],
    "choices": [{"openai": "default"}, {"openai": "\ud800"}],
    "only": [["openai"], []],
    "roots": [["/etc/passwd"], ["/dev/zero", "\x00"]],
    "limit": [0, -1, 10**30],
    "after": [2**53, 2**63, 10**400],
    "granted": [True],
    "scopes": [["a"] * 5000],
    "base_url": ["https://[", "https://x.example:99999/"],
    "url": ["http://[", "https://127.0.0.1/auth/callback/oauth?code=1&state=2"],
}


class Api:
    """The described calls, made through a relay."""

    def __init__(self, doors: Doors, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self._session = Session()
        described = doors.call("GET", "/openapi.json")[1]
        schema = schemathesis.openapi.from_dict(described, config=schemathesis.Config())
        self.operations = {(o.method.upper(), o.path): o for o in (r.ok() for r in schema.get_all_operations())}

    def fuzz(self, call: Call, judge: Callable[[Case, Response], None], most: int = EXAMPLES) -> None:
        """Cases that fit the description and cases that do not, of things that there are and of others."""
        operation = self.operations[call]
        takes_something = bool(operation.path_parameters or operation.query or operation.body)
        kinds = [operation.as_strategy(GenerationMode.POSITIVE)]
        if takes_something:
            kinds += [_of_real_things(kinds[0]), operation.as_strategy(GenerationMode.NEGATIVE)]

        @settings(
            max_examples=most if takes_something else 2,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=st.one_of(kinds))
        def each(case: Case) -> None:
            judge(case, case.call(base_url=self.base, session=self._session))

        each()


@st.composite
def _of_real_things(draw: st.DrawFn, cases: st.SearchStrategy[Case]) -> Case:
    case = draw(cases)
    usual = draw(st.booleans())  # what a caller would mean: openai, default, api_key, in clear
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            for name in [name for name in part if name in REAL]:
                part[name] = REAL[name][0] if usual else draw(st.sampled_from(REAL[name]))
    if usual and any(parameter.name == "show_secret" for parameter in case.operation.query):
        case.query["show_secret"] = "true"
    return case


@contextlib.contextmanager
def relayed(cli: Cli, *before: str) -> Iterator[int]:
    """The port of a relay to the daemon's socket, started by a command such as `run --`."""
    argv = [sys.executable, relay.__file__, str(cli.home.path / "run" / "daemon.sock")]
    command = cli.argv(*before, *argv) if before else argv
    with subprocess.Popen(
        command, env=cli.home.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        yield int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture
def connect(doors: Doors, canary: Canary) -> Callable[[], None]:
    """Sees to it that openai is connected by a key that is the canary."""

    def connect() -> None:
        wanted = {"provider": "openai", "key": KEY.format(canary.secret), "force": True}
        assert doors.call("POST", "/auth/sessions", wanted)[0] == 200
        deadline = time.monotonic() + 20
        while doors.call("GET", "/connections/openai")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return connect


def check(case: Case, response: Response) -> None:
    """As described, and never a failure of ours."""
    case.validate_response(response, checks=CHECKS)
    assert "Traceback" not in response.text and "/site-packages/" not in response.text


def test_the_owner_gets_what_is_described_and_secrets_only_where_asked(
    doors: Doors, canary: Canary, connect: Callable[[], None]
) -> None:
    revealed: set[Call] = set()
    cli = Cli(doors.home)
    with relayed(cli) as port:
        api = Api(doors, port)
        assert {STOP, BEGIN, *REVEALING, *HARMLESS} <= set(api.operations)
        for call in sorted(set(api.operations) - {STOP, BEGIN}):
            connect()

            def judge(case: Case, response: Response, call: Call = call) -> None:
                check(case, response)
                if canary.secret in response.text:
                    revealed.add(call)

            api.fuzz(call, judge)
    with relayed(cli) as port:
        Api(doors, port).fuzz(BEGIN, check)
    assert revealed == REVEALING
    assert cli("doctor").ok()


def test_with_reveal_denied_no_call_shows_a_secret(cli: Cli, canary: Canary) -> None:
    cli.home.path.mkdir(mode=0o700)
    (cli.home.path / "config.toml").write_text('[reveal]\n"*" = "deny"\n')
    cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    doors = Doors(cli.home)
    refused: set[Call] = set()
    with relayed(cli) as port:
        api = Api(doors, port)
        for call in sorted(set(api.operations) - {STOP, BEGIN}, key=lambda call: call not in REVEALING):

            def judge(case: Case, response: Response, call: Call = call) -> None:
                check(case, response)
                assert canary.secret not in response.text
                if response.status_code == 403:
                    refused.add(call)

            api.fuzz(call, judge, most=EXAMPLES if call in REVEALING else FEW)
    assert refused >= REVEALING
    assert cli("doctor").ok()


def test_w07_from_inside_a_run_nothing_changes_and_nothing_is_shown(
    doors: Doors, canary: Canary, connect: Callable[[], None]
) -> None:
    connect()
    cli = Cli(doors.home)
    before = state(cli)
    refused: set[Call] = set()
    with relayed(cli, "run", "--") as port:
        api = Api(doors, port)
        for call in api.operations:

            def judge(case: Case, response: Response, call: Call = call) -> None:
                check(case, response)
                assert canary.secret not in response.text + str(response.headers)
                if call not in HARMLESS:
                    assert response.status_code >= 400, (call, response.text)
                if response.status_code == 403:
                    refused.add(call)

            api.fuzz(call, judge, most=EXAMPLES if call in HARMLESS else FEW)
    assert set(api.operations) - HARMLESS <= refused
    assert ("GET", "/connections/{provider}/fields/{field}") in refused  # its secrets
    assert state(cli) == before
    assert cli("doctor").ok()


def state(cli: Cli) -> tuple[object, ...]:
    """What is kept: connections, providers and their files, and which process serves."""
    files = {path.name: path.read_bytes() for path in (cli.home.path / "providers").iterdir()}
    listed = json.loads(cli("list", "--json").ok().out)
    return listed, files, json.loads(cli("daemon", "status", "--json").ok().out)["pid"]


def test_w14_at_the_browsers_port_none_of_it_is_served(doors: Doors, canary: Canary) -> None:
    api = Api(doors, doors.port)
    shared = {("GET", "/health"), ("GET", "/auth/sessions/{number}")}  # paths that mean something else there
    for call in api.operations:

        def judge(_: Case, response: Response, call: Call = call) -> None:
            assert canary.secret not in response.text and '"pid"' not in response.text
            if call not in shared:
                assert response.status_code in (400, 403, 404, 405), (call, response.text)
                assert response.status_code != 400 or "Invalid HTTP request" in response.text

        api.fuzz(call, judge, most=FEW)


ODD_BODIES = [
    b"",
    b"null",
    b"[]",
    b"\xff\xfe{}",
    b'{"provider": "\\ud800", "connection": "\\udfff", "name": "\\ud800", "key": "\\ud800"}',
    b'{"provider": "openai", "connection": "\\u0000"}',
    b'{"provider": "openai", "key": "\\u0000\\r\\n"}',
    b'{"provider": ' + b"9" * 5000 + b"}",
    b'{"provider": 1e999, "granted": NaN, "text": Infinity}',
    b'{"provider": "openai", "provider": "github"}',
    b'{"text": "{\\"name\\": ' + b"[" * 5000 + b'", "force": true}',
    b'{"command": "\\ud800", "choices": {"\\ud800": "\\ud800"}, "only": ["\\ud800"], "roots": ["\\ud800", "\\u0000"]}',
    b'{"command": "x", "roots": ["/proc/self/mem", "/dev/zero", "/", "\\u0000"]}',
    b'{"url": "http://[::1", "client_id": "\\u0000", "client_secret": "\\ud800"}',
    b"[" * 100_000,
    b'{"a": ' * 50_000,
    b'{"provider": "' + b"x" * 900_000 + b'"}',
]
ODD_NAMES = ["%00", "%ff%fe", "%ED%A0%80", "..%2f..%2fetc", "%2e%2e", "x" * 5000, "%0d%0aX:%20y", "%F0%9F%92%A9", "-"]
ODD_TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "",
]


def test_odd_bytes_break_no_call(doors: Doors, connect: Callable[[], None]) -> None:
    connect()
    described = doors.call("GET", "/openapi.json")[1]["paths"]
    calls = {(method.upper(), path) for path, methods in described.items() for method in methods} - {STOP, BEGIN}
    for method, path in sorted(calls):
        names = ODD_NAMES if "{" in path else [""]
        asked = [(re.sub(r"\{\w+\}", name, path), b"{}", "application/json") for name in names]
        asked += [
            (f"{asked[0][0]}?{q}", b"{}", "application/json") for q in ("%00=%00", "wait=9e9&after=" + "9" * 5000)
        ]
        if method == "POST":
            real = path.replace("{provider}", "openai").replace("{name}", "openai")
            asked += [(real, body, ODD_TYPES[0]) for body in ODD_BODIES]
            asked += [(real, b'{"provider": "none"}', kind) for kind in ODD_TYPES]
        for target, body, kind in asked:
            status, answer = doors.send_raw(method, target, body, kind)
            assert status < 500 and status != 422, (method, target[:100], body[:100], answer)
            assert status < 400 or {"error", "message", "exit"} <= set(answer), (target[:100], answer)
    assert Cli(doors.home)("doctor").ok()


def test_stop_is_refused_inside_a_run_and_ends_the_daemon_outside(cli: Cli) -> None:
    doors = Doors(cli.home)
    cli("daemon", "start").ok()
    pid = doors.call("GET", "/health")[1]["pid"]
    with relayed(cli, "run", "--") as port:
        assert Session().post(f"http://127.0.0.1:{port}/daemon/stop").status_code == 403
    assert doors.call("GET", "/health")[1]["pid"] == pid
    assert doors.call("POST", "/daemon/stop", {})[0] == 200
    ends = time.monotonic() + 20
    while left := cli.home.left_over():
        assert time.monotonic() < ends, left
        time.sleep(0.05)
    assert cli("daemon", "status").code == 9
