"""`run`: the process becomes the command."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Caller
from cli.daemon import FakeDaemon, failure, run_command

PROXY = "http://run:token@127.0.0.1:4001"


@pytest.fixture
def runs(daemon: FakeDaemon) -> FakeDaemon:
    directory = daemon.home / "run" / "r1"
    directory.mkdir(mode=0o700)
    daemon.answer(
        "POST /runs",
        {
            "run": "r1",
            "proxy": PROXY,
            "ca_bundle": str(directory / "ca.pem"),
            "directory": str(directory),
            "placeholders": {"NOTION_ACCESS_TOKEN": "authsome-proxy-managed"},
            "hosts": ["mcp.notion.com"],
        },
    )
    return daemon


def start(daemon: FakeDaemon, *words: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "authsome", "run", *words],
        env=run_command(daemon.home, PYTHONPATH=os.pathsep.join(sys.path), HOME=str(daemon.home), **variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_the_command_gets_its_own_words_and_the_composed_environment(runs: FakeDaemon) -> None:
    status, out, err = finish(
        start(runs, "--", "sh", "-c", 'echo "$NOTION_ACCESS_TOKEN $https_proxy $1"', "x", "--json")
    )
    assert (status, err) == (0, "")
    assert out == f"authsome-proxy-managed {PROXY} --json\n"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_commands_exit_code_is_ours(runs: FakeDaemon, code: int) -> None:
    assert finish(start(runs, "sh", "-c", f"exit {code}"))[0] == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_a_signal_reaches_the_command_itself(runs: FakeDaemon, number: signal.Signals) -> None:  # X69
    process = start(runs, "--", "sh", "-c", "echo $$; read line")
    pid = int(process.stdout.readline())
    assert pid == process.pid
    process.send_signal(number)
    assert finish(process)[0] == -number


def test_the_command_does_not_ignore_what_python_does(runs: FakeDaemon) -> None:
    status, out, _ = finish(start(runs, "--", "grep", "SigIgn", "/proc/self/status"))
    assert status == 0
    assert int(out.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0


def test_no_descriptor_of_ours_reaches_the_command(runs: FakeDaemon) -> None:
    out = finish(start(runs, "--", "ls", "/proc/self/fd"))[1]
    assert set(out.split()) <= {"0", "1", "2", "3"}  # 3 is the directory that ls reads


def test_the_daemon_learns_what_is_run_and_never_its_arguments(runs: FakeDaemon, tmp_path: Path) -> None:
    bundle = tmp_path / "own.pem"
    bundle.touch()
    words = ["--connection", "notion_dcr=work", "--connection", "x=y", "--only", "notion_dcr,x", "--"]
    process = start(
        runs, *words, "/bin/sh", "-c", "true", "sk-canary", CURL_CA_BUNDLE=str(bundle), AWS_CA_BUNDLE="/nothing"
    )
    assert finish(process)[0] == 0
    (body,) = runs.bodies("POST /runs")
    assert str(bundle) in body["roots"]
    assert "/nothing" not in body["roots"]
    assert len(body["roots"]) == len(set(body["roots"]))
    assert {name: body[name] for name in ("command", "choices", "only")} == {
        "command": "sh",
        "choices": {"notion_dcr": "work", "x": "y"},
        "only": ["notion_dcr", "x"],
    }


def test_everything_is_lent_where_nothing_is_chosen(runs: FakeDaemon) -> None:
    finish(start(runs, "true"))
    (body,) = runs.bodies("POST /runs")
    assert (body["choices"], body["only"]) == ({}, None)


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("no-such-command", 127, "no-such-command: command not found"),
        ("./no-such-file", 127, "./no-such-file: command not found"),
        ("./plain", 126, "./plain: Permission denied"),
        ("./directory", 126, "./directory: Permission denied"),
        ("./plain/below", 127, "./plain/below: command not found"),
        ("./interpreter", 126, "./interpreter: the interpreter it names is not there"),
        ("./binary", 126, "./binary: Exec format error"),
        ("refused", 126, "refused: Permission denied"),
    ],
)
def test_what_cannot_be_started_is_told_as_a_shell_does(
    runs: FakeDaemon, tmp_path: Path, monkeypatch, command: str, status: int, message: str
) -> None:
    script(tmp_path / "plain", "", 0o644)
    script(tmp_path / "interpreter", "#!/no/such/interpreter\n")
    script(tmp_path / "binary", "\x7fELF\0\0\0\n")
    (tmp_path / "directory").mkdir()
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "refused", "", 0o644)
    monkeypatch.chdir(tmp_path)
    path = f"/no/such/place:{tmp_path}/bin:{os.environ['PATH']}"
    got, out, err = finish(start(runs, "--json", "--", command, PATH=path))
    assert (got, err) == (status, f"error: {message}\n")
    assert json.loads(out)["message"] == message


def test_a_script_without_an_interpreter_line_is_one_for_sh(runs: FakeDaemon, tmp_path: Path) -> None:
    path = script(tmp_path / "script", "echo $0 $1\n")
    assert finish(start(runs, "--", str(path), "one"))[:2] == (0, f"{path} one\n")


def test_a_later_place_on_the_path_is_tried(runs: FakeDaemon, tmp_path: Path) -> None:
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        script(tmp_path / name / "tool", "#!/bin/sh\necho found\n", mode)
    path = f"{tmp_path}/first:{tmp_path}/second:{os.environ['PATH']}"
    assert finish(start(runs, "--", "tool", PATH=path))[:2] == (0, "found\n")


@pytest.mark.parametrize("option", ["--allow-read=.", "--allow-write=.", "--allow-host=example.com", "--trust-file=x"])
def test_what_widens_isolation_needs_isolation(runs: FakeDaemon, option: str) -> None:
    status, out, err = finish(start(runs, option, "--", "echo", "ran"))
    assert (status, out) == (64, "") and "--isolate" in err
    assert runs.asked == []


@pytest.mark.parametrize("choice", ["notion_dcr", "=work", "notion_dcr=", ""])
def test_a_choice_needs_a_provider_and_a_name(runs: FakeDaemon, choice: str) -> None:
    assert finish(start(runs, f"--connection={choice}", "--", "true"))[0] == 64
    assert runs.asked == []


def test_a_connection_of_a_provider_that_is_not_lent_is_refused(runs: FakeDaemon) -> None:
    status, out, err = finish(start(runs, "--connection=openai=work", "--only=github, slack", "--", "echo", "ran"))
    assert (status, out) == (64, "") and "--only leaves openai out" in err
    assert runs.asked == []


def test_this_machine_as_an_allowed_host_is_refused_before_anything_runs(runs: FakeDaemon) -> None:
    status, out, err = finish(start(runs, "--isolate", "--allow-host=localhost", "--", "echo", "ran"))
    assert (status, out) == (64, "") and "this machine is never reached" in err
    assert runs.asked == []


@pytest.mark.parametrize("words", [["list"], ["daemon", "start"], ["daemon", "stop"], ["daemon", "logs"]])
def test_where_the_daemon_is_out_of_reach_nobody_says_that_it_does_not_run(
    call: Caller, place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("AUTHSOME_RUN", "r0")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    said = call(*words)
    assert (said.status, said.out) == (9, "")
    assert "error: inside an isolated run the daemon is out of reach\n" in said.err
    assert "not running" not in said.err and "daemon start" not in said.err
    assert list(place.iterdir()) == []


def test_a_daemon_that_runs_is_seen_from_inside_a_plain_run(
    call: Caller, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answer("GET /health", {"pid": 7, "version": "1", "workers": 1})
    monkeypatch.setenv("AUTHSOME_RUN", "r0")
    assert call("daemon", "start").out == "already running: process 7\n"


def test_a_refused_run_starts_nothing(daemon: FakeDaemon) -> None:
    daemon.answer("POST /runs", failure("connection_choice_needed", "work or personal?", None, 409, 3))
    status, out, _ = finish(start(daemon, "--", "echo", "ran"))
    assert (status, out) == (3, "")


def test_variables_from_a_file_reach_the_command_but_never_replace_a_placeholder(
    runs: FakeDaemon, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("OWN='it is set'\nNOTION_ACCESS_TOKEN=real\nHTTPS_PROXY=http://elsewhere\nNO_PROXY=*\n")
    status, out, err = finish(
        start(
            runs, "--env-file", str(file), "--", "sh", "-c", 'echo "$OWN $NOTION_ACCESS_TOKEN $HTTPS_PROXY $NO_PROXY"'
        )
    )
    assert status == 0
    assert out == f"it is set authsome-proxy-managed {PROXY} localhost,127.0.0.1,::1\n"
    assert "left out '*'" in err


def test_a_file_of_variables_that_is_wrong_is_named_without_its_content(runs: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("sk-canary\n")
    status, _, err = finish(start(runs, "--env-file", str(file), "--", "true"))
    assert (status, err) == (64, f"error: {file}:1: expected NAME=value\n")
    assert finish(start(runs, "--env-file", str(tmp_path / "nothing"), "--", "true"))[0] == 64


def test_a_star_in_no_proxy_is_left_out_and_that_is_said(runs: FakeDaemon) -> None:
    out, err = finish(start(runs, "--", "sh", "-c", "echo $NO_PROXY", NO_PROXY="*,own.test"))[1:]
    assert out == "own.test,localhost,127.0.0.1,::1\n"
    assert err == "NO_PROXY: left out '*', it would lead past the proxy to every host\n"
    assert finish(start(runs, "--quiet", "--", "true", NO_PROXY="*"))[2] == ""


def test_the_callers_wget_settings_go_along_in_a_private_file(runs: FakeDaemon) -> None:
    (runs.home / ".wgetrc").write_text("tries = 3\nhttps_proxy = http://elsewhere\n")
    out = finish(start(runs, "--", "sh", "-c", 'echo "$WGETRC"; cat "$WGETRC"'))[1]
    path, *lines = out.splitlines()
    assert lines == ["tries = 3", f"ca_certificate = {runs.home}/run/r1/ca.pem"]
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert Path(path).parent == runs.home / "run" / "r1"


def test_without_wget_settings_the_daemons_file_is_used(runs: FakeDaemon) -> None:
    assert finish(start(runs, "--", "sh", "-c", "echo $WGETRC"))[1] == f"{runs.home}/run/r1/wgetrc\n"


def test_inside_a_run_no_daemon_is_started(place: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "authsome", "run", "--", "echo", "ran"],
        env=run_command(place, PYTHONPATH=os.pathsep.join(sys.path), AUTHSOME_RUN="r0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (9, "")
    assert list(place.iterdir()) == []
