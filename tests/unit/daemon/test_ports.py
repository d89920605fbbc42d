"""Who has a port already: another daemon of ours is called by its name, whatever program runs it."""

import socket
from pathlib import Path

import pytest

from authsome.daemon import ports, processes
from authsome.errors import PortTaken


def process(directory: Path, *command: str) -> Path:
    """What /proc says of a process."""
    directory.mkdir()
    (directory / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in command))
    (directory / "comm").write_text("python3\n")
    return directory


def test_a_daemon_is_called_by_its_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = process(tmp_path / "1", "/usr/bin/python3", "-P", "-m", "authsome.daemon", "--ready-fd", "4")
    monkeypatch.setattr(processes, "environment", lambda pid: b"A=b\0AUTHSOME_HOME=/h/.authsome\0" if pid == 1 else b"")
    assert ports._name(daemon) == "another authsome daemon of /h/.authsome"
    monkeypatch.setattr(processes, "environment", lambda _pid: None)  # it hides that from other processes
    assert ports._name(daemon) == "another authsome daemon"


def test_another_program_keeps_its_own_name(tmp_path: Path) -> None:
    assert ports._name(process(tmp_path / "1", "python3", "-m", "http.server")) == "python3"


def test_a_listener_that_says_nothing_is_not_taken_for_a_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} is taken by ") as taken:
            ports.check_free("127.0.0.1", port, variable="AUTHSOME_PORT")
        assert "authsome daemon" not in taken.value.message
        assert not ports._answers_as_ours(port)
