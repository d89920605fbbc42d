"""What `run --isolate` is made of, piece by piece: the filter of system calls, and the plan of what is hidden (P5)."""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from authsome.cli.isolate import kernel, landlock, seccomp
from authsome.cli.isolate.network import refuse_this_machine
from authsome.cli.isolate.plan import Mount, Named, Plan, aliases, make_plan, without_agents
from authsome.errors import NotAllowed, UsageError

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# read, clone, socket, ioctl, ptrace, mount, unshare: the kernel's own tables
CALLS = {"x86_64": (0, 56, 41, 16, 101, 165, 272), "aarch64": (63, 220, 198, 29, 117, 40, 97)}


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter says of a call, by the rules of the kernel's own machine for it (classic BPF)."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, architecture or ARCHITECTURE[machine], 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    at = value = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x06:
            return int(operand)
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
            continue
        truth = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
        at += if_true if truth else if_false


def refused(number: int) -> int:
    return 0x50000 | number


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_refuses_what_reaches_out_and_nothing_else(machine: str) -> None:
    read, clone, make_socket, control, trace, mount, unshare = CALLS[machine]
    assert verdict(machine, read) == ALLOW
    assert verdict(machine, read, architecture=0x40000003) == KILL  # 32-bit
    for number in (trace, mount, unshare, 428, 429, 442):
        assert verdict(machine, number) == refused(errno.EPERM)
    for number in (425, 426, 427, 435):
        assert verdict(machine, number) == refused(errno.ENOSYS)
    assert verdict(machine, clone, 0x3D0F00) == ALLOW  # a thread
    for space in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, clone, space | 17) == refused(errno.EPERM)
    assert verdict(machine, control, 0, 0x5401) == ALLOW
    for trick in (0x5412, 0x541C, 0x7F00005412):
        assert verdict(machine, control, 0, trick) == refused(errno.EPERM)
    for family, kind, protocol in (
        (socket.AF_UNIX, 1, 0),
        (socket.AF_INET, 1, 0),
        (socket.AF_INET, 1, 6),
        (socket.AF_INET6, 2, 17),
        (socket.AF_NETLINK, 3, 0),
    ):
        assert verdict(machine, make_socket, family, kind, protocol) == ALLOW
    for family, kind, protocol in ((2, 1, 262), (10, 1, 262), (2, 1, 132), (2, 1, 256), (2, 3, 255), (16, 3, 15)):
        assert verdict(machine, make_socket, family, kind, protocol) == refused(errno.EPROTONOSUPPORT)
    for family in (17, 38, 40, 44):
        assert verdict(machine, make_socket, family, 1, 0) == refused(errno.EAFNOSUPPORT)


def test_no_call_of_the_other_table_slips_through() -> None:
    assert verdict("x86_64", 0x40000000 | 41, 2, 1, 0) == KILL  # x32


MOUNTS = [
    Mount("8:1", "/", "/", "ext4"),
    Mount("8:1", "/home/me", "/mnt/me", "ext4"),
    Mount("8:2", "/", "/data", "ext4"),
    Mount("8:1", "/home", "/data/homes", "ext4"),
]


def test_a_place_is_found_wherever_its_file_system_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda _: True)
    assert aliases("/home/me/.authsome", MOUNTS) == {"/mnt/me/.authsome", "/data/homes/me/.authsome"}
    assert aliases("/mnt/me/.authsome", MOUNTS) == {"/home/me/.authsome", "/data/homes/me/.authsome"}
    assert aliases("/data/x", MOUNTS) == set()


class Place:
    """A person's home with authsome's in it, and a project."""

    def __init__(self, root: Path) -> None:
        self.person = root / "me"
        self.home = self.person / ".authsome"
        self.project = root / "project"
        for path in (self.home / "run" / "r1", self.person / ".ssh", self.person / ".config" / "gh", self.project):
            path.mkdir(parents=True)

        self.bundle = str(self.home / "run" / "r1" / "ca.pem")

    def plan(
        self,
        *,
        command: str = "true",
        read: Sequence[str] = (),
        write: Sequence[str] = (),
        trust: Sequence[str] = (),
        **variables: str,
    ) -> Plan:
        environment = {"HOME": str(self.person), "PATH": "/usr/bin:/bin", **variables}
        named = Named(read, write, trust)
        return make_plan(str(self.home), str(self.home / "run" / "r1"), [], environment, command, named)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path.resolve())
    monkeypatch.chdir(made.project)
    return made


def test_the_project_is_writable_and_places_with_credentials_are_hidden(place: Place) -> None:
    plan = place.plan()
    assert plan.writable == {str(place.project)}
    assert {str(place.home), str(place.person / ".ssh"), str(place.person / ".config/gh"), "/run"} <= plan.hidden
    assert str(place.person / ".aws") not in plan.hidden  # there is none


def test_a_link_to_a_hidden_place_hides_what_it_leads_to(place: Place, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (place.person / ".gnupg").symlink_to(keys)
    assert str(keys.resolve()) in place.plan().hidden


def test_what_is_named_is_shown_and_only_that(place: Place) -> None:
    plan = place.plan(read=(str(place.person / ".ssh"),), write=(str(place.person / ".config"),))
    assert str(place.person / ".ssh") not in plan.hidden
    assert str(place.person / ".config" / "gh") in plan.hidden


@pytest.mark.parametrize("where", ["person", "home"])
def test_a_directory_that_holds_more_than_a_project_is_not_written_to(
    place: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(getattr(place, where))
    if where == "home":
        with pytest.raises(NotAllowed):
            place.plan()
        return
    plan = place.plan()
    assert plan.writable == set() and plan.remarks
    assert place.plan(write=(".",)).writable == {str(place.person)}


def test_a_hidden_directory_is_no_place_to_run_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.person / ".ssh")
    with pytest.raises(NotAllowed):
        place.plan()
    assert place.plan(read=(".",)).current == str(place.person / ".ssh")


@pytest.mark.parametrize("name", ["", "run", "run/r1"])
def test_authsomes_home_is_never_named(place: Place, name: str) -> None:
    with pytest.raises(NotAllowed):
        place.plan(read=(str(place.home / name),))


@pytest.mark.parametrize("path", ["/", "/nowhere/at/all"])
def test_what_is_named_has_to_be_something(place: Place, path: str) -> None:
    with pytest.raises(UsageError):
        place.plan(write=(path,))


def test_a_socket_is_hidden_wherever_somebody_listens(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        path = tmp_path.resolve() / "a b.sock"
        agent.bind(str(path))
        agent.listen()
        assert str(path) in place.plan().hidden
        variables = {"SSH_AUTH_SOCK": str(path), "DBUS_SESSION_BUS_ADDRESS": f"unix:path={path},guid=1", "LANG": "C"}
        assert without_agents(variables, place.plan()) == {"LANG": "C"}
        assert without_agents(variables, place.plan(write=(str(path),))) == variables


def test_temporary_files_go_where_they_can_be_written(place: Place) -> None:
    plan = place.plan()
    assert without_agents({"TMPDIR": "/somewhere"}, plan) == {}
    inside = {"TMPDIR": str(place.project / "tmp")}
    assert without_agents(inside, plan) == inside


@pytest.mark.parametrize("name", ["certifi/cacert.pem", "stripe/data/ca-certificates.crt", "botocore/cacert.pem"])
@pytest.mark.parametrize("where", [".venv", "elsewhere", "tool", "conda"])
def test_bundles_that_clients_bring_along_are_replaced(place: Place, where: str, name: str) -> None:
    """Beside the project, where variables say, and where a link to the command leads."""
    bundle = place.project / where / "lib" / "python3.11" / "site-packages" / name
    bundle.parent.mkdir(parents=True)
    bundle.write_text("# Mozilla's\n-----BEGIN CERTIFICATE-----\n")
    program = place.project / "tool" / "bin" / "tool"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch(0o755)
    (place.person / "tool").symlink_to(program)
    plan = place.plan(
        command=str(place.person / "tool"),
        VIRTUAL_ENV=str(place.project / "elsewhere"),
        CONDA_PREFIX=str(place.project / "conda"),
    )
    assert plan.replaced[str(bundle)] == place.bundle
    assert plan.replaced[os.path.realpath("/etc/resolv.conf")].endswith("/r1/resolv.conf")


def test_a_file_of_certificates_that_is_named_is_replaced(place: Place) -> None:
    own = place.person / "own.pem"
    own.write_text("the office's\n-----BEGIN CERTIFICATE-----\n")
    (place.project / "link").symlink_to(own)
    assert place.plan(trust=("link",)).replaced[str(own)] == place.bundle
    (place.home / "vault.db").touch()
    for path, error in ((place.home / "vault.db", NotAllowed), (place.project, UsageError), ("gone", UsageError)):
        with pytest.raises(error):
            place.plan(trust=(str(path),))


def test_a_named_file_that_turns_out_to_be_hidden_is_not_taken_for_one_of_certificates(place: Place) -> None:
    """A project may have put a link there; whoever means that file names it once more."""
    own = place.person / ".ssh" / "own.pem"
    own.write_text("-----BEGIN CERTIFICATE-----\n")
    (place.project / "link").symlink_to(own)
    with pytest.raises(UsageError, match=f"--trust-file {own} is hidden from an isolated command"):
        place.plan(trust=("link",))
    for path in ("link", str(own.parent)):
        assert place.plan(trust=("link",), read=(path,)).replaced[str(own)] == place.bundle


@pytest.mark.parametrize("content", [b"", b"root:x:0:0\n", b"-----BEGIN PRIVATE KEY-----\n", b"\x30\x82\x01\x0a"])
def test_a_file_without_certificates_is_not_covered_with_some(place: Place, content: bytes) -> None:
    (place.project / "passwd").write_bytes(content)
    with pytest.raises(UsageError, match="there is no certificate in there"):
        place.plan(trust=("passwd",))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "*.localhost", "web.localhost", "localhost:3000", "localhost.", "127.0.0.1", "127.8.8.8",
     "0.0.0.0", "::1", "[::1]", "[::1]:80", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine_is_not_allowed_as_a_host(host: str) -> None:
    refuse_this_machine(["example.org", "*.localhost.example.org", "8.8.8.8", "[2001:db8::1]", "", "a:b:c"])
    with pytest.raises(UsageError, match="this machine is never reached"):
        refuse_this_machine(["example.org", host])


@pytest.mark.parametrize("where", ["/", "/etc", "/usr/lib", "/tmp"])
def test_a_part_of_the_system_is_not_written_to(place: Place, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.chdir(where)
    plan = place.plan()
    assert plan.writable == plan.readable == set()
    assert bool(plan.remarks) is (where != "/tmp")


def test_landlock_allows_writing_in_few_places(tmp_path: Path) -> None:
    """In a process of its own, because there is no way back; where there is no Landlock, nothing is refused."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            kernel.process_control(38, 1)
            landlock.confine([str(inside), "/nowhere"])
            (inside / "x").write_text("x")
            (inside / "x").rename(inside / "y")
            try:
                outside.write_text("x")
            except PermissionError:
                code = 2
            else:
                code = 3
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == (2 if landlock.version() else 3)
    assert (inside / "y").exists()


def test_a_home_that_is_mounted_twice_is_out_of_reach_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path.resolve() / "other"
    (other / ".authsome").mkdir(parents=True)
    mounts = [Mount("8:1", "/", "/", "ext4"), Mount("8:1", str(place.person), str(other), "ext4")]
    monkeypatch.setattr("authsome.cli.isolate.plan.read_mounts", lambda: mounts)
    assert str(other / ".authsome") in place.plan().hidden
    with pytest.raises(NotAllowed):
        place.plan(read=(str(other / ".authsome"),))
    monkeypatch.chdir(other)
    assert place.plan().writable == set()  # it is the person's home by another name
