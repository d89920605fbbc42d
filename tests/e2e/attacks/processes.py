"""Attempts at the daemon and at other processes of the person's."""

import ctypes
import os
import struct

from .trying import AIMS, attempt, call, number, shell, vault


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


@attempt("the same, by the shell's tools")
def _() -> object:
    return shell(f"nsenter -t {AIMS['daemon']} -m -n head -c 6 {AIMS['home']}/vault.db")


@attempt("what another process of the user was started with")
def _() -> object:
    return AIMS["outside_secret"].encode() in open(f"/proc/{AIMS['outside']}/environ", "rb").read()


@attempt("memory of the first process, which knew the run's token")
def _() -> object:
    return os.open("/proc/1/mem", os.O_RDONLY) and open("/proc/1/environ", "rb").read()
