"""What the person's own files of CA certificates give a run: certificates, not what else is in there, nor how much."""

import json
from pathlib import Path

from parts.pki import Authority
from parts.product import Cli


def test_a_password_beside_a_certificate_does_not_reach_the_run(cli: Cli) -> None:
    authority = Authority("A CA of the owner's").pem.decode()
    own = cli.home.user / "office.ovpn"
    own.write_text(f"auth-pass hunter2\n<ca>\n{authority}</ca>\nkey hunter3\n")
    held = cli("run", "--", "sh", "-c", 'cat "$SSL_CERT_FILE"', env={"SSL_CERT_FILE": str(own)}).ok().out
    assert authority in held and "hunter" not in held and "<" not in held


def test_a_huge_file_is_refused_in_one_line_and_costs_the_daemon_nothing(cli: Cli) -> None:
    cli("daemon", "start").ok()
    huge = cli.home.user / "ca.pem"
    with huge.open("wb") as file:
        file.truncate(256 << 20)  # of nothing: it takes no room on the disk
    before = most_memory(cli)
    done = cli("run", "--", "true", env={"SSL_CERT_FILE": str(huge)})
    assert done.code == 64
    assert done.err == f"error: {huge}: a file of CA certificates may have 8 MiB, and this has more\n"
    assert most_memory(cli) - before < 64 << 20


def most_memory(cli: Cli) -> int:
    """What the daemon has had at most, in bytes."""
    pid = json.loads(cli("daemon", "status", "--json").ok().out)["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
