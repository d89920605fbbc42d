"""Whether credentials are handed out in clear is the owner's to say: allow, ask or deny (level B)."""

import json
import time

import pytest
from e2e.test_terminal import at_terminal
from parts.canary import Canary
from parts.product import Cli

KEY = "sk-proj-{}abcdefgh"
SHOWING = [["export", "openai"], ["get", "openai", "--field", "api_key", "--show-secret"]]


@pytest.fixture
def connect(cli: Cli, canary: Canary):
    """Logs in to openai under a policy."""

    def connect(policy: str) -> None:
        cli.home.path.mkdir(mode=0o700, exist_ok=True)
        (cli.home.path / "config.toml").write_text(f"[reveal]\n{policy}\n")
        cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()

    return connect


@pytest.mark.parametrize("argv", SHOWING)
@pytest.mark.parametrize("policy", ['openai = "deny"', '"*" = "deny"'])
def test_what_is_denied_is_not_handed_out(cli: Cli, connect, argv: list[str], policy: str) -> None:
    connect(policy)
    result = cli(*argv)
    assert result.code == 4 and "run --" in result.err, str(result)
    assert cli("run", "--", "true").ok()
    assert cli("export").ok().out == ""
    first, second = [event for event in _events(cli) if event["kind"] == "Withheld"]
    assert (first["provider"], first["connection"], first["why"]) == ("openai", "default", "config.toml says deny")
    assert argv[0] in first["how"] and argv[0] in first["caller"] and second["how"] == "export"
    assert "did not hand out openai/default in clear" in cli("log").ok().out


@pytest.mark.parametrize("argv", SHOWING)
def test_a_yes_in_another_terminal_hands_out_once(cli: Cli, canary: Canary, connect, argv: list[str]) -> None:
    connect('"*" = "ask"')
    with cli.started(*argv) as asking:
        _wait_for_question(cli)
        shown = at_terminal(cli, ["approve"], [(b"show it? [y/N]", b"y\n")])
        out, err = asking.communicate(timeout=20)
    assert canary.secret in out and "authsome approve" in err
    assert b"openai/default" in shown and argv[0].encode() in shown
    with cli.started(*argv) as again:  # the next one is asked for anew
        assert _wait_for_question(cli)["pid"] == again.pid
    told = next(event for event in reversed(_events(cli)) if event["kind"] != "Withheld")
    assert told["kind"] == "Exported" and argv[0] in told["caller"]


def test_a_no_is_a_no(cli: Cli, canary: Canary, connect) -> None:
    connect('openai = "ask"')
    with cli.started("export", "openai") as asking:
        _wait_for_question(cli)
        at_terminal(cli, ["approve"], [(b"show it? [y/N]", b"\n")])
        out, err = asking.communicate(timeout=20)
    assert asking.returncode == 4 and canary.secret not in out + err
    told = _events(cli)[-1]
    assert (told["kind"], told["why"]) == ("Withheld", "you said no") and "export openai" in told["caller"]


def test_who_asks_cannot_answer(cli: Cli, canary: Canary, connect) -> None:
    """Not without a terminal, not from the session that asks, not from inside a run."""
    connect('openai = "ask"')
    with cli.started("export", "openai") as asking:
        question = _wait_for_question(cli)["id"]
        assert cli("approve").code == 4
        raw = _post(cli, f"/approvals/{question}", {"granted": True})
        assert "not_allowed" in raw, raw
        program = cli.argv("x")[0]
        assert cli("run", "--", program, "approve", "--json").code == 4
        asking.kill()
    assert canary.secret not in raw
    without, inside = [event for event in _events(cli) if event["kind"] == "Withheld"]
    assert without["why"] == "an approval came from a process without a terminal"
    assert inside["why"] == "an approval came from inside a run" and "approve" in inside["caller"]
    assert {without["provider"], inside["provider"]} == {"openai"}


@pytest.mark.parametrize("argv", [*SHOWING, ["export"]])
def test_asking_from_inside_a_run_leaves_a_trace(cli: Cli, connect, argv: list[str]) -> None:
    connect("")
    assert cli("run", "--", cli.argv("x")[0], *argv).code == 4
    told = next(event for event in _events(cli) if event["kind"] == "Withheld")
    assert told["why"] == "asked from inside a run" and " ".join(argv) in told["caller"]
    assert told["provider"] == ("openai" if len(argv) > 1 else "*")


def test_a_policy_that_means_nothing_is_named(cli: Cli, connect) -> None:
    cli.home.path.mkdir(mode=0o700, exist_ok=True)
    (cli.home.path / "config.toml").write_text('[reveal]\nopenai = "maybe"\n')
    result = cli("list")
    assert result.code != 0 and "reveal" in result.err


def _events(cli: Cli) -> list[dict[str, object]]:
    return json.loads(cli("log", "--json").ok().out)["events"]


def _wait_for_question(cli: Cli) -> dict[str, object]:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        waiting = json.loads(cli("approve", "--json").ok().out)["approvals"]
        if waiting:
            assert len(waiting) == 1
            return waiting[0]
        time.sleep(0.1)
    raise AssertionError("nobody asked")


def _post(cli: Cli, path: str, body: dict[str, object]) -> str:
    """The call itself, by a process without a terminal."""
    import socket

    payload = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(cli.home.path / "run" / "daemon.sock"))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        return sock.makefile("rb").read().decode()
