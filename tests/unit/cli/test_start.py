"""Starting the daemon on demand, with a program in its place that does as it is told."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from authsome.cli import start
from authsome.cli.start import start_daemon
from authsome.errors import DaemonUnavailable, PortTaken
from cli.daemon import FakeDaemon, run_command

SERVE = """
import json, os, socket, sys, time
fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
print("argv", sys.argv[1:], flush=True)
open("started", "a").write(json.dumps({
    "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "cwd": os.getcwd(),
    "fds": [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")], "fd": fd,
}) + "\\n")
listener = socket.socket(socket.AF_UNIX)
if os.path.exists("run/daemon.sock"):
    os.unlink("run/daemon.sock")
listener.bind("run/daemon.sock")
listener.listen(64)
os.write(fd, b'{"ok": true, "pid": %d}\\n' % os.getpid())
os.close(fd)
listener.settimeout(10)
deadline = time.monotonic() + 10
while not os.path.exists("stop") and time.monotonic() < deadline:
    time.sleep(0.01)
"""

ANSWER = """
while True:
    connection, _ = listener.accept()
    asked = connection.recv(65536)
    if not asked:
        continue
    body = b'{"owner": "me"}' if b"/whoami" in asked else b'{"pid": 7, "version": "0"}'
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%s" % (len(body), body))
    connection.close()
    if b"/health" in asked:
        break
"""


@pytest.fixture
def program(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a Python program in the place of the daemon's."""

    def put(text: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!{os.path.realpath(sys.executable)}\n{text}")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    yield put
    (place / "stop").touch()


def started(home: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (home / "started").read_text().splitlines()]


def test_it_is_started_detached_with_its_files_private(place: Path, program) -> None:  # P11
    home = place / "new" / "home"
    program(SERVE)
    assert start_daemon(str(home)) is True
    (there,) = started(home)
    assert there["parent"] != os.getpid()
    assert there["session"] != os.getsid(0)
    assert there["cwd"] == str(home)
    assert set(there["fds"]) <= {"0", "1", "2", str(there["fd"]), "3", "4"}
    modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in ("", "run", "logs")}
    assert modes == {"": 0o700, "run": 0o700, "logs": 0o700}
    assert stat.S_IMODE((home / "logs" / "daemon.log").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "run" / "start.lock").stat().st_mode) == 0o600
    assert (home / "logs" / "daemon.log").read_text() == (
        f"argv ['-P', '-m', 'authsome.daemon', '--ready-fd', '{there['fd']}']\n"
    )
    (home / "stop").touch()


def test_the_number_of_workers_is_passed_on(place: Path, program) -> None:
    program(SERVE)
    start_daemon(str(place), 3)
    assert "'authsome.daemon', '--workers', '3', '--ready-fd'" in (place / "logs" / "daemon.log").read_text()
    (place / "stop").touch()


def test_no_descriptor_of_the_caller_stays_open_in_it(place: Path, program) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    program(SERVE)
    start_daemon(str(place))
    os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b""  # held open by the daemon there would be nothing to read yet
    os.close(reading)


def test_one_that_runs_is_left_alone(daemon: FakeDaemon) -> None:
    assert start_daemon(str(daemon.home)) is False


def test_many_starters_start_one(place: Path, program) -> None:  # V15
    program(SERVE)
    environment = run_command(place, PYTHONPATH=os.pathsep.join(sys.path))
    script = "import sys; sys.executable = sys.argv[1]; from authsome.cli.start import start_daemon; " + (
        "print(start_daemon(sys.argv[2]))"
    )
    command = [os.path.realpath(sys.executable), "-c", script, sys.executable, str(place)]
    python = Path(sys.executable).read_text().partition("\n")[0].removeprefix("#!")
    command[0] = python
    callers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(12)
    ]
    said = [caller.communicate(timeout=30) for caller in callers]
    assert sorted(out for out, _ in said) == ["False\n"] * 11 + ["True\n"], said
    assert len(started(place)) == 1


def test_inside_a_run_none_is_started(place: Path, program, monkeypatch: pytest.MonkeyPatch) -> None:
    program(SERVE)
    monkeypatch.setenv("AUTHSOME_RUN", "r1")
    with pytest.raises(DaemonUnavailable, match="not started from inside a run"):
        start_daemon(str(place))
    assert not (place / "started").exists()


def test_why_it_refuses_to_start_is_passed_on(place: Path, program) -> None:
    said = PortTaken("port 7998 is taken by nginx", "set AUTHSOME_PORT").to_json()
    program(f"import os, sys; os.write(int(sys.argv[-1]), {json.dumps(said).encode()!r} + b'\\n')")
    with pytest.raises(PortTaken, match="taken by nginx") as caught:
        start_daemon(str(place))
    assert caught.value.exit_status == 9


@pytest.mark.parametrize("text", ["", "raise SystemExit(3)", "import os, sys; os.write(int(sys.argv[-1]), b'what\\n')"])
def test_one_that_ends_at_once_is_reported_with_its_log(place: Path, program, text: str) -> None:
    program(text)
    with pytest.raises(DaemonUnavailable, match="ended before it was ready") as caught:
        start_daemon(str(place))
    assert caught.value.hint == f"see {place}/logs/daemon.log"


def test_a_program_that_is_not_there_is_reported(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(place / "nothing"))
    with pytest.raises(DaemonUnavailable, match="ended before it was ready"):
        start_daemon(str(place))


def test_one_that_is_not_ready_in_time_is_reported(place: Path, program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "READY_SECONDS", 0.2)
    program("import time; time.sleep(3)")
    with pytest.raises(DaemonUnavailable, match="not ready within"):
        start_daemon(str(place))


def test_a_starter_that_hangs_is_not_waited_for_for_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(start, "_TURN_SECONDS", 0.1)
    start.make_home(str(place))
    with open(place / "run" / "start.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DaemonUnavailable, match="another command"):
            start_daemon(str(place))


@pytest.mark.parametrize("name", ["run/start.lock", "logs/daemon.log"])
def test_a_planted_link_is_not_followed(place: Path, program, name: str) -> None:  # P11, V12
    program(SERVE)
    start.make_home(str(place))
    (place / name).symlink_to(place / "target")
    with pytest.raises(DaemonUnavailable):
        start_daemon(str(place))
    assert not (place / "target").exists()


def test_a_home_that_cannot_be_made_is_named(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(DaemonUnavailable, match="file"):
        start_daemon(str(place / "file" / "home"))


def test_a_command_starts_it_and_goes_on(place: Path, program, call) -> None:
    program(SERVE.partition("listener.settimeout")[0] + ANSWER)
    said = call("whoami", "--json")
    assert said.json == {"v": 1, "owner": "me"}
    assert call("daemon", "start", "--json").json == {"v": 1, "pid": 7, "version": "0", "workers": 1, "started": False}
    assert len(started(place)) == 1
