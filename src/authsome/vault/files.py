"""Private files: created 0600 in directories of 0700, never through a symbolic link, never chmod-ed after (P11)."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authsome.errors import VaultError

# A file system without locks on directories (some network mounts) leaves the daemon's own lock alone to do the work.
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


def failure(path: Path, error: OSError) -> VaultError:
    """What the operating system refused, as an error that names the file."""
    hints = {
        errno.ENOSPC: "free some space on that disk and try again",
        errno.EDQUOT: "free some of your disk quota and try again",
        errno.EROFS: "the home has to be on a disk that can be written; AUTHSOME_HOME names another one",
        errno.EACCES: f"the home has to be yours to read and write: ls -ld {path.parent}",
        errno.ELOOP: "replace the symbolic link by the file itself",
    }
    why = "is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or "failed").lower()
    return VaultError(f"{path}: {why}", hints.get(error.errno or 0))


def private_directory(path: Path) -> None:
    """Makes the directory, and what lacks above it, 0700; or checks that nobody else can write to it.

    Raises VaultError: not a directory, of another user, writable by others, a link of another user.
    """
    try:
        _make(path)
        link, target = path.lstat(), path.stat()
    except OSError as error:
        raise failure(path, error) from error
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (os.geteuid(), 0):
        raise VaultError(f"{path}: is a symbolic link made by another user (uid {link.st_uid})", "remove it")
    if not stat.S_ISDIR(target.st_mode):
        raise VaultError(f"{path}: is not a directory", "AUTHSOME_HOME names the home")
    if target.st_uid != os.geteuid():
        raise VaultError(f"{path}: belongs to another user (uid {target.st_uid})", "AUTHSOME_HOME names the home")
    if target.st_mode & 0o022:
        raise VaultError(f"{path}: others can write to it", f"chmod 700 {path}")


def _make(path: Path) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)  # another start may be making it too


def check_private(path: Path) -> None:
    """Raises VaultError unless it is a plain file of ours that nobody else can open."""
    try:
        _refuse_unless_private(path, path.lstat())
    except OSError as error:
        raise failure(path, error) from error


def _refuse_unless_private(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise VaultError(f"{path}: is a symbolic link", "replace it by the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise VaultError(f"{path}: is not a plain file", "move it away and put the file in its place")
    if found.st_uid != os.geteuid():
        raise VaultError(f"{path}: belongs to another user (uid {found.st_uid})", f"chown it, or remove {path}")
    if found.st_mode & 0o077:
        raise VaultError(
            f"{path}: others can read it (mode {stat.S_IMODE(found.st_mode):04o})",
            f"chmod 600 {path}, and change the credentials if others did read it",
        )
    if found.st_nlink > 1:
        raise VaultError(f"{path}: has a second name (a hard link)", "copy it to a file of its own")


def read_private(path: Path, limit: int) -> bytes:
    """The content of a private file of at most `limit` bytes; never waits for a pipe or a device.

    Raises VaultError naming the path; FileNotFoundError where there is nothing.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise failure(path, error) from error
    try:
        found = os.fstat(handle)
        _refuse_unless_private(path, found)
        if found.st_size > limit:
            raise VaultError(f"{path}: has {found.st_size} bytes, more than the {limit} that make sense here")
        return os.read(handle, limit)
    except OSError as error:
        raise failure(path, error) from error
    finally:
        os.close(handle)


def create_private(path: Path) -> int:
    """A descriptor of a new, empty file of mode 0600 that takes the place of a left-over one.

    A planted link is removed, not followed. Raises VaultError.
    """
    try:
        path.unlink(missing_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise failure(path, error) from error


def write_private(path: Path, content: bytes) -> None:
    """The whole file or none of it, on the disk when this returns. Raises VaultError."""
    fresh = path.with_name(path.name + ".new")
    handle = create_private(fresh)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        move(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise failure(path, error) from error


def move(source: Path, target: Path) -> None:
    """Renames within one directory, on the disk when this returns. Raises OSError."""
    source.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Brings a file, or the names in a directory, to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Holds off every other process that would do the same in this directory."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise failure(directory, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise failure(directory, error) from error
        yield
    finally:
        os.close(handle)
