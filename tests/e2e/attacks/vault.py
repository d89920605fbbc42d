"""Attempts at the vault: by its path, by other ways to the same file, by making the path lead elsewhere."""

import ctypes
import os
import struct
import tempfile

from .trying import AIMS, LIBC, NEW_USER_AND_MOUNTS, Blocked, attempt, call, number, shell, succeeded, vault


@attempt("read the vault")
def _() -> object:
    return vault()


@attempt("read the root key")
def _() -> object:
    with open(f"{AIMS['home']}/root.key", "rb") as file:
        return file.read()


@attempt("list authsome's home")
def _() -> object:
    return bool(os.listdir(AIMS["home"])) or "nothing is in it"


@attempt("write into authsome's home")
def _() -> object:
    with open(f"{AIMS['home']}/providers/evil.json", "w") as file:
        return file.write("{}")


@attempt("overwrite the vault")
def _() -> object:
    file = os.open(f"{AIMS['home']}/vault.db", os.O_RDWR)
    return os.pwrite(file, os.pread(file, 1, 0), 0)  # as it was


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
    return succeeded(pid)


@attempt("the vault in namespaces by clone")
def _() -> object:
    pid = call(number(56, 220), NEW_USER_AND_MOUNTS | 17, 0, 0, 0, 0)
    if pid == 0:
        LIBC.umount2(AIMS["home"].encode(), 2)
        os._exit(0 if os.access(f"{AIMS['home']}/vault.db", os.R_OK) else 1)
    return succeeded(pid)


@attempt("the vault by a bind mount")
def _() -> object:
    place = tempfile.mkdtemp(dir=".")
    try:
        if LIBC.mount(b"/", place.encode(), None, 4096 | 16384, None) < 0:
            raise OSError(ctypes.get_errno(), "mount")
        return open(f"{place}{AIMS['home']}/vault.db", "rb").read(16)
    finally:
        LIBC.umount2(place.encode(), 2)  # else the project would hold the person's home for the runs to come
        os.rmdir(place)


@attempt("the vault after umount, by the shell's tools")
def _() -> object:
    return shell(f"umount {AIMS['home']} && head -c 6 {AIMS['home']}/vault.db")


@attempt("the vault in namespaces, by the shell's tools")
def _() -> object:
    return shell(f"unshare -Urm sh -c 'umount {AIMS['home']} 2>/dev/null; head -c 6 {AIMS['home']}/vault.db'")


@attempt("the vault by a bind mount, by the shell's tools")
def _() -> object:
    bound = f"mount --bind {AIMS['home']} $d && {{ head -c 6 $d/vault.db; umount $d; }}"
    return shell(f"d=$(mktemp -d); {bound}; rmdir $d")


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
