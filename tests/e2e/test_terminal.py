"""What a person meets at a terminal: typed clients, odd homes, streams that are closed or full."""

import os
import pty
import select
import time

from parts.canary import Canary
from parts.product import Cli

KEY = "sk-proj-{}abcdefgh"


def at_terminal(cli: Cli, argv: list[str], answers: list[tuple[bytes, bytes]]) -> bytes:
    """Run the command on a terminal of its own, answering each prompt; what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(cli.argv(*argv)[0], cli.argv(*argv), cli.home.environment())
    shown, ends = b"", time.monotonic() + 60
    try:
        while time.monotonic() < ends:
            if answers and answers[0][0] in shown:
                os.write(terminal, answers.pop(0)[1])
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert not answers, shown.decode(errors="replace")
    return shown


def test_a_client_of_ones_own_is_typed_where_there_is_no_browser(cli: Cli, canary: Canary) -> None:
    shown = at_terminal(
        cli,
        ["login", "notion", "--no-browser"],
        [
            (b"client_id:", b"my-client\n"),
            (b"client_secret", canary.secret.encode() + b"\n"),
            (b"paste here", b"\x03"),
        ],
    )
    assert b"client_id=my-client" in shown and b"/auth/callback/oauth" in shown
    assert canary.secret.encode() not in shown
    assert cli("get", "notion").code == 3


def test_a_key_given_as_an_argument_is_not_shown_again(cli: Cli, canary: Canary) -> None:  # P23
    result = cli("login", "openai", KEY.format(canary.secret), shows_secret=True)
    assert result.code == 64 and canary.secret not in result.err and "--stdin" in result.err


def test_a_relative_home_is_one_home(cli: Cli, canary: Canary) -> None:
    env = {"AUTHSOME_HOME": os.path.relpath(cli.home.path, cli.home.user)}
    cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret), env=env).ok()
    assert cli("get", "openai", "--field", "status").ok().out == "connected\n"
    assert not list(cli.home.path.rglob("home"))
    cli("daemon", "stop", env=env).ok()


def test_what_is_not_lent_leaves_the_environment(cli: Cli, canary: Canary) -> None:  # level A
    cli("login", "openai", "--stdin", stdin=KEY.format(canary.secret)).ok()
    exported = {"OPENAI_API_KEY": KEY.format(canary.secret)}
    cli("login", "anthropic", "--stdin", stdin=f"sk-ant-{canary.secret}").ok()
    assert canary.secret not in cli("run", "--only", "anthropic", "--", "env", env=exported).ok().out
    assert "OPENAI_API_KEY=authsome-proxy-managed" in cli("run", "--", "env", env=exported).ok().out


def test_output_that_cannot_be_written_is_said(cli: Cli) -> None:
    program = cli.argv("list")[0]
    for redirection in (">/dev/full", ">&-"):
        result = cli.home.root / "err"
        code = os.waitstatus_to_exitcode(os.system(f"{_env(cli)} {program} list {redirection} 2>{result}"))
        assert code == 74 and "cannot be written" in result.read_text(), redirection


def _env(cli: Cli) -> str:
    return "env -i " + " ".join(f"'{name}={value}'" for name, value in cli.home.environment().items())
