"""The call to the daemon: to ours and nobody else, whole, and with its errors understood."""

import os
import socket
import threading
from pathlib import Path

import pytest

from authsome.cli import client
from authsome.cli.client import Daemon, connect, provider_path, quote
from authsome.errors import AuthsomeError, DaemonUnavailable, NeedsLogin, ProviderNotFound
from cli.daemon import FakeDaemon, failure


def test_a_call_carries_its_body_and_brings_the_answer(daemon: FakeDaemon) -> None:
    daemon.answer("POST /exports", lambda body: {"got": body, "long": "x" * 300_000})
    answer = Daemon(str(daemon.home)).post("/exports", {"provider": "é"})
    assert answer["got"] == {"provider": "é"}
    assert len(answer["long"]) == 300_000


def test_an_error_keeps_its_kind_hint_and_status(daemon: FakeDaemon) -> None:
    daemon.answer("GET /x", failure("needs_login", "dead", "log in", 401, 5))
    with pytest.raises(NeedsLogin) as caught:
        Daemon(str(daemon.home)).get("/x")
    assert (caught.value.message, caught.value.hint, caught.value.exit_status) == ("dead", "log in", 5)


def test_an_error_that_we_do_not_know_keeps_its_code_and_status(daemon: FakeDaemon) -> None:
    daemon.answer("GET /x", failure("from_the_future", "new", exit=8))
    with pytest.raises(AuthsomeError) as caught:
        Daemon(str(daemon.home)).get("/x")
    assert (caught.value.code, caught.value.exit_status) == ("from_the_future", 8)


def test_an_answer_of_another_version_is_said_to_be_that(daemon: FakeDaemon) -> None:
    with pytest.raises(AuthsomeError, match="answered GET /unknown with HTTP 404"):
        Daemon(str(daemon.home)).get("/unknown?secret=1")


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o755, 0o770, 0o777])
def test_a_directory_that_others_can_enter_is_refused(daemon: FakeDaemon, mode: int) -> None:  # P10
    (daemon.home / "run").chmod(mode)
    with pytest.raises(DaemonUnavailable, match="open to others"):
        Daemon(str(daemon.home)).get("/whoami")
    assert daemon.asked == []


def test_a_linked_directory_is_refused(daemon: FakeDaemon) -> None:  # P10
    (daemon.home / "run").rename(daemon.home / "elsewhere")
    (daemon.home / "run").symlink_to("elsewhere")
    with pytest.raises(DaemonUnavailable, match="not a directory of yours"):
        Daemon(str(daemon.home)).get("/whoami")
    assert daemon.asked == []
    (daemon.home / "run").unlink()
    (daemon.home / "elsewhere").rename(daemon.home / "run")


def test_a_directory_of_another_user_is_refused(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:  # P10
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DaemonUnavailable, match="not a directory of yours"):
        Daemon(str(daemon.home)).get("/whoami")


def test_a_peer_of_another_user_gets_not_a_byte(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:  # P10
    monkeypatch.setattr(client, "peer_uid", lambda _sock: os.geteuid() + 1)
    with pytest.raises(DaemonUnavailable, match="belongs to another user"):
        Daemon(str(daemon.home)).get("/whoami")
    assert daemon.asked == []


def test_the_kernel_names_the_peer() -> None:  # P10
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert client.peer_uid(ours) == os.geteuid()


def test_no_daemon_is_no_connection(place: Path) -> None:
    assert connect(str(place)) is None
    assert connect(str(place / "nothing")) is None


def test_a_left_over_socket_is_no_connection(daemon: FakeDaemon) -> None:
    daemon._listener.shutdown(socket.SHUT_RDWR)
    daemon._thread.join(5)
    daemon._listener.close()
    assert (daemon.home / "run" / "daemon.sock").exists()
    assert connect(str(daemon.home)) is None


def test_a_home_that_is_a_file_is_named(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(DaemonUnavailable, match="Not a directory"):
        connect(str(place / "file"))


def test_a_path_too_long_for_a_socket_is_said_to_be_that(place: Path) -> None:
    home = place / ("x" * 100)
    (home / "run").mkdir(parents=True, mode=0o700)
    with pytest.raises(DaemonUnavailable, match="too long"):
        connect(str(home))


@pytest.mark.parametrize(
    "bytes_sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", b"junk\r\n\r\n"]
)
def test_an_answer_that_breaks_off_is_no_answer(place: Path, bytes_sent: bytes) -> None:
    (place / "run").mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "run" / "daemon.sock"))
    listener.listen()

    def break_off() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(bytes_sent)
        connection.close()

    thread = threading.Thread(target=break_off)
    thread.start()
    with pytest.raises(DaemonUnavailable, match="broke off"):
        Daemon(str(place)).get("/whoami")
    thread.join()
    listener.close()


def test_a_silent_daemon_is_given_up(place: Path) -> None:
    (place / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "run" / "daemon.sock"))
        listener.listen()
        with pytest.raises(DaemonUnavailable, match="did not answer"):
            Daemon(str(place)).get("/whoami", seconds=0.05)


def test_names_are_encoded_for_a_path() -> None:
    assert quote("a@b+c/é?#") == "a%40b%2Bc%2F%C3%A9%3F%23"
    assert provider_path("notion_dcr") == "notion_dcr"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "https://x.test"])
def test_what_no_provider_can_be_called_is_not_asked_for(name: str) -> None:
    with pytest.raises(ProviderNotFound):
        provider_path(name)
