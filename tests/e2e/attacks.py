"""What hostile code in a run would try. One JSON object a line on stdout: the attempt, and whether it reached its aim.

`python attacks.py serve AIMS` is what stands outside: services of the same user that no isolated command may reach.
`python attacks.py attack AIMS` makes the attempts. AIMS is a file of JSON (see `test_attacks.py`).
"""

import ctypes
import fcntl
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

BANNER = b"you are in\n"
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
NEW_USER_AND_MOUNTS = 0x10000000 | 0x20000

ATTEMPTS: dict[str, Callable[[], object]] = {}
AIMS: dict[str, Any] = {}


class Blocked(Exception):
    """The attempt led nowhere."""


def attempt(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Each function below gives something true, or raises."""

    def keep(action: Callable[[], object]) -> Callable[[], object]:
        ATTEMPTS[name] = action
        return action

    return keep


def call(*arguments: Any) -> int:
    """A system call. Raises OSError."""
    result = LIBC.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def number(x86_64: int, aarch64: int) -> int:
    return x86_64 if X86 else aarch64


def vault() -> bytes:
    with open(f"{AIMS['home']}/vault.db", "rb") as file:
        return file.read(16)


# the vault


@attempt("read the vault")
def _() -> object:
    return vault()


@attempt("read the root key")
def _() -> object:
    with open(f"{AIMS['home']}/root.key", "rb") as file:
        return file.read()


@attempt("find the vault's file by listing")
def _() -> object:
    return "vault.db" in os.listdir(AIMS["home"])


@attempt("write into authsome's home")
def _() -> object:
    with open(f"{AIMS['home']}/providers/evil.json", "w") as file:
        return file.write("{}")


@attempt("remove from authsome's home")
def _() -> object:
    os.unlink(f"{AIMS['home']}/victim")
    return True


@attempt("move authsome's home away")
def _() -> object:
    os.rename(AIMS["home"], AIMS["home"] + ".moved")
    os.rename(AIMS["home"] + ".moved", AIMS["home"])
    return True


@attempt("rename what leads to authsome's home")
def _() -> object:
    above = os.path.dirname(AIMS["home"])
    os.rename(above, above + ".moved")
    os.rename(above + ".moved", above)
    return True


@attempt("hard link to the vault")
def _() -> object:
    os.link(f"{AIMS['home']}/vault.db", "linked")
    os.unlink("linked")
    return True


@attempt("the vault through /proc/self/root")
def _() -> object:
    return open(f"/proc/self/root{AIMS['home']}/vault.db", "rb").read(16)


@attempt("the vault through the first process")
def _() -> object:
    return open(f"/proc/1/root{AIMS['home']}/vault.db", "rb").read(16)


@attempt("the vault through a descriptor that was left open")
def _() -> object:
    for name in os.listdir("/proc/self/fd"):
        try:
            fd = os.open("/proc/self/fd/" + name, os.O_RDONLY | os.O_DIRECTORY)
            return os.read(os.open(AIMS["home"].lstrip("/") + "/vault.db", os.O_RDONLY, dir_fd=fd), 16)
        except OSError:
            continue
    raise Blocked("none leads there")


@attempt("the vault after umount")
def _() -> object:
    for _ in range(3):
        call(number(166, 39), AIMS["home"].encode(), 2)
    return vault()


@attempt("the vault in namespaces of its own")
def _() -> object:
    pid = os.fork()
    if pid == 0:
        try:
            call(number(272, 97), NEW_USER_AND_MOUNTS)
            LIBC.umount2(AIMS["home"].encode(), 2)
            os._exit(0 if vault() else 1)
        except BaseException:
            os._exit(1)
    return _succeeded(pid)


@attempt("the vault in namespaces by clone")
def _() -> object:
    pid = call(number(56, 220), NEW_USER_AND_MOUNTS | 17, 0, 0, 0, 0)
    if pid == 0:
        LIBC.umount2(AIMS["home"].encode(), 2)
        os._exit(0 if os.access(f"{AIMS['home']}/vault.db", os.R_OK) else 1)
    return _succeeded(pid)


@attempt("the vault by a bind mount")
def _() -> object:
    place = tempfile.mkdtemp(dir=".")
    if LIBC.mount(b"/", place.encode(), None, 4096 | 16384, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return open(f"{place}{AIMS['home']}/vault.db", "rb").read(16)


@attempt("the vault by the new calls for mounts")
def _() -> object:
    tree = call(428, -100, b"/", 1)
    return os.read(os.open(AIMS["home"].lstrip("/") + "/vault.db", os.O_RDONLY, dir_fd=tree), 16)


@attempt("the vault by chroot into another process")
def _() -> object:
    os.chroot(f"/proc/{AIMS['daemon']}/root")
    return vault()


@attempt("the vault from the disk itself")
def _() -> object:
    device = os.stat(AIMS["here"]).st_dev
    os.mknod("disk", 0o600 | 0o060000, device)
    try:
        return open("disk", "rb").read(16)
    finally:
        os.unlink("disk")


@attempt("the vault by a file handle")
def _() -> object:
    handle = struct.pack("=Ii", 8, 1) + struct.pack("=II", 2, 0)
    mount = os.open("/", os.O_RDONLY)
    return call(number(304, 265), mount, handle, os.O_RDONLY) > 0


# the daemon and other processes


@attempt("the vault through the daemon's root")
def _() -> object:
    return open(f"/proc/{AIMS['daemon']}/root{AIMS['home']}/vault.db", "rb").read(16)


@attempt("the daemon's environment")
def _() -> object:
    return b"AUTHSOME_HOME=" in open(f"/proc/{AIMS['daemon']}/environ", "rb").read()


@attempt("the daemon's memory map")
def _() -> object:
    return "python" in open(f"/proc/{AIMS['daemon']}/maps").read()


@attempt("the daemon's memory")
def _() -> object:
    return os.open(f"/proc/{AIMS['daemon']}/mem", os.O_RDWR)


@attempt("the daemon's memory by process_vm_readv")
def _() -> object:
    with open(f"/proc/{AIMS['daemon']}/maps") as file:
        start = int(file.read().partition("-")[0], 16)
    room = ctypes.create_string_buffer(16)
    ours = struct.pack("=QQ", ctypes.addressof(room), 16)
    return call(number(310, 270), AIMS["daemon"], ours, 1, struct.pack("=QQ", start, 16), 1, 0) == 16


@attempt("trace the daemon")
def _() -> object:
    call(number(101, 117), 16, AIMS["daemon"], 0, 0)
    os.waitpid(AIMS["daemon"], 0x40000000)
    call(number(101, 117), 17, AIMS["daemon"], 0, 0)
    return True


@attempt("signal the daemon")
def _() -> object:
    os.kill(AIMS["daemon"], 0)
    return "authsome" in open(f"/proc/{AIMS['daemon']}/cmdline").read()


@attempt("hold the daemon by a pidfd")
def _() -> object:
    fd = os.pidfd_open(AIMS["daemon"])
    return "authsome" in open(f"/proc/{AIMS['daemon']}/cmdline").read() and fd


@attempt("enter the daemon's namespaces")
def _() -> object:
    for kind in ("user", "mnt", "net"):
        fd = os.open(f"/proc/{AIMS['daemon']}/ns/{kind}", os.O_RDONLY)
        if os.stat(f"/proc/self/ns/{kind}") != os.stat(fd):
            call(number(308, 268), fd, 0)
    return vault()


@attempt("what another process of the user was started with")
def _() -> object:
    return AIMS["outside_secret"].encode() in open(f"/proc/{AIMS['outside']}/environ", "rb").read()


@attempt("memory of the first process, which knew the run's token")
def _() -> object:
    return os.open("/proc/1/mem", os.O_RDONLY) and open("/proc/1/environ", "rb").read()


# the network


def greeted(sock: socket.socket) -> bool:
    sock.settimeout(5)
    with sock:
        return sock.recv(64) == BANNER


def connect(family: int, kind: int, protocol: int, place: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(5)
    sock.connect(place)
    return sock


@attempt("a service on this machine, by TCP")
def _() -> object:
    return greeted(connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", AIMS["tcp"])))


@attempt("the same by MPTCP")
def _() -> object:
    return greeted(connect(socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", AIMS["tcp"])))


@attempt("the same by a Unix socket without a path")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, "\0" + AIMS["abstract"]))


@attempt("a service on this machine, by UDP")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_DGRAM, 0, ("127.0.0.1", AIMS["udp"]))
    sock.send(b"?")
    return greeted(sock)


@attempt("the daemon's pages")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", AIMS["port"]))
    sock.sendall(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{AIMS['port']}\r\n\r\n".encode())
    return sock.recv(64).startswith(b"HTTP/1.1 200")


@attempt("a host on the internet, by its address")
def _() -> object:
    return secured(connect(socket.AF_INET, socket.SOCK_STREAM, 0, (AIMS["address"], 443)), AIMS["evil"])


@attempt("a host on the internet, by IPv6")
def _() -> object:
    return connect(socket.AF_INET6, socket.SOCK_STREAM, 0, ("2001:db8::1", 443))


@attempt("a host that nobody allowed, by its name")
def _() -> object:
    return secured(socket.create_connection((AIMS["evil"], 443), 5), AIMS["evil"])


@attempt("the same in clear text")
def _() -> object:
    sock = socket.create_connection((AIMS["evil"], 80), 5)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {AIMS['evil']}\r\n\r\n".encode())
    return b" 403 " not in sock.recv(64)


@attempt("the same through the proxy")
def _() -> object:
    return secured(tunnel(AIMS["evil"], 443), AIMS["evil"])


@attempt("the same with the token of another run")
def _() -> object:
    return secured(tunnel(AIMS["evil"], 443, AIMS["other_proxy"]), AIMS["evil"])


@attempt("the same by its name inside a connection to an allowed host")
def _() -> object:
    return secured(tunnel(AIMS["allowed"], 443), AIMS["evil"])


@attempt("a name of an allowed host that leads to this machine")
def _() -> object:
    return greeted(tunnel(AIMS["rebinding"], AIMS["tcp"]))


@attempt("the same in clear text through the proxy")
def _() -> object:
    place, token = proxy(None)
    sock = socket.create_connection(place, 5)
    target = f"{AIMS['rebinding']}:{AIMS['tcp']}"
    head = f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {token}\r\n\r\n"
    sock.sendall(head.encode())
    answer = sock.recv(512)
    return b"destination_refused" not in answer and b" 403 " not in answer


@attempt("the cloud's metadata")
def _() -> object:
    return b" 403 " not in tunnel("169.254.169.254", 80).recv(64)


@attempt("names that are looked up elsewhere")
def _() -> object:
    sock = connect(socket.AF_INET, socket.SOCK_DGRAM, 0, (AIMS["address"], 53))
    return sock.send(b"\1\2\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1")


@attempt("packets made by hand")
def _() -> object:
    return connect(socket.AF_INET, socket.SOCK_RAW, 255, ("127.0.0.1", 0))


@attempt("frames made by hand")
def _() -> object:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


@attempt("the host of a virtual machine, by a socket for that")
def _() -> object:
    return socket.socket(40, socket.SOCK_STREAM)


# those who act for the person


@attempt("the daemon's own socket")
def _() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, f"{AIMS['home']}/run/daemon.sock")


@attempt("where sockets are handed over")
def _() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, f"{AIMS['home']}/run/handover.sock")


@attempt("an agent's socket that a variable names")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.environ["SSH_AUTH_SOCK"]))


@attempt("an agent's socket by its path")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, AIMS["agent"]))


@attempt("a service's socket in a directory like any other")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, AIMS["service"]))


@attempt("the credential by the command line")
def _() -> object:
    environment = {**os.environ, "AUTHSOME_HOME": AIMS["home"], "AUTHSOME_PORT": str(AIMS["port"])}
    environment.pop("AUTHSOME_RUN", None)
    done = subprocess.run([*AIMS["program"], "export", "openai"], env=environment, capture_output=True, check=True)
    return b"OPENAI" in done.stdout


@attempt("a key of the person's for ssh")
def _() -> object:
    return open(AIMS["ssh_key"]).read()


@attempt("a file that the person's shell reads at its start")
def _() -> object:
    return open(os.path.join(AIMS["person"], ".bashrc"), "a").write("# ours\n")


@attempt("type into the person's terminal")
def _() -> object:
    ours, theirs = os.openpty()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            fcntl.ioctl(theirs, 0x540E, 0)  # make it ours, which is when this is allowed to everybody
            fcntl.ioctl(theirs, 0x5412, b"x")
            os._exit(0)
        except BaseException:
            os._exit(1)
    return _succeeded(pid) and ours


# the kernel


@attempt("io_uring")
def _() -> object:
    return call(425, 1, ctypes.create_string_buffer(120))


@attempt("the kernel's keys")
def _() -> object:
    return call(number(250, 219), 0, -3, 1)


@attempt("programs in the kernel (BPF)")
def _() -> object:
    return call(number(321, 280), 0, struct.pack("=IIII", 2, 4, 8, 1) + bytes(112), 128) > 0


@attempt("page faults of its own (userfaultfd)")
def _() -> object:
    return call(number(323, 282), 1) > 0


@attempt("performance counters")
def _() -> object:
    attributes = struct.pack("=IIQ", 1, 112, 0) + bytes(24) + struct.pack("=Q", 0x60) + bytes(64)
    return call(number(298, 241), attributes, 0, -1, -1, 0) > 0


@attempt("a handler that the kernel runs outside (core_pattern)")
def _() -> object:
    return os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@attempt("a new system of files")
def _() -> object:
    return call(430, b"tmpfs", 0) > 0


@attempt("a namespace by clone3, whose flags no filter sees")
def _() -> object:
    pid = call(435, struct.pack("=11Q", NEW_USER_AND_MOUNTS, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
    if pid == 0:
        os._exit(0)
    return _succeeded(pid)


def _succeeded(pid: int) -> bool:
    if os.waitpid(pid, 0)[1] != 0:
        raise Blocked("it ended early")
    return True


def proxy(url: str | None) -> tuple[tuple[str, int], str]:
    """Where a proxy is, and what has to be said to it."""
    import base64

    text = (url or os.environ["HTTPS_PROXY"]).removeprefix("http://")
    user, _, place = text.rpartition("@")
    if url and not AIMS["plain"]:
        place = os.environ["HTTPS_PROXY"].removeprefix("http://")  # the only one that can be reached
    host, _, port = place.partition(":")
    return (host, int(port)), "Basic " + base64.b64encode(user.encode()).decode()


def tunnel(host: str, port: int, url: str | None = None) -> socket.socket:
    """A CONNECT through the proxy."""
    place, token = proxy(url)
    sock = socket.create_connection(place, 5)
    target = f"{host}:{port}"
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {token}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1) or b"\r\n\r\n"
    if b" 200 " not in head:
        raise Blocked(head.split(b"\r\n")[0].decode())
    return sock


def secured(sock: socket.socket, name: str) -> bool:
    """Whether a server of that name answers."""
    context = ssl.create_default_context(cafile=AIMS["ca"] if AIMS["plain"] else None)
    with context.wrap_socket(sock, server_hostname=name) as tls:
        tls.settimeout(5)
        tls.sendall(f"GET /echo HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return tls.recv(64).startswith(b"HTTP/1.1 200")


def attack() -> None:
    """Make every attempt, each in a process of its own."""
    for name, action in ATTEMPTS.items():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = "" if action() else "nothing came of it"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode()[:500] or b"-")
            os._exit(0)
        os.close(write)
        with open(read) as file:
            said = file.read()
        os.waitpid(pid, 0)
        print(json.dumps({"attempt": name, "reached": said == "-", "why": said}), flush=True)


def serve() -> None:
    """Be the services outside."""

    def accept(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            sock.sendall(BANNER)
            sock.close()

    def echo(sock: socket.socket) -> None:
        while True:
            sock.sendto(BANNER, sock.recvfrom(64)[1])

    listeners = [socket.create_server(("127.0.0.1", AIMS["tcp"]))]
    for path in ("\0" + AIMS["abstract"], AIMS["agent"], AIMS["service"]):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)
    for listener in listeners:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", AIMS["udp"]))
    threading.Thread(target=echo, args=(datagrams,), daemon=True).start()
    with open(AIMS["ready"], "w") as file:
        file.write(f"{os.getpid()}\n")
    while os.path.exists(AIMS["ready"]):
        time.sleep(0.1)


if __name__ == "__main__":
    with open(sys.argv[2]) as given:
        AIMS.update(json.load(given))
    {"serve": serve, "attack": attack}[sys.argv[1]]()
