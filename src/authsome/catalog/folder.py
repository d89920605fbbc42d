"""The owner's folder of provider files: read and written without following a link (P11)."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authsome.catalog.reader import MAX_BYTES, Flaw
from authsome.errors import NotAllowed

SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from the next; times are nanoseconds since the epoch."""

    mtime: int
    ctime: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that may not exist yet; it is made 0700 when the first file is written."""

    path: Path

    def stamps(self) -> dict[str, Stamp]:
        """Every `*.json` name with its state, whatever kind of file it is. Raises Flaw for an unusable folder."""
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                wanted = [e for e in entries if e.name.endswith(SUFFIX) and not e.name.startswith(".")]
                return {entry.name: stamp for entry in wanted if (stamp := _stamp(entry)) is not None}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Flaw(_why(error)) from None

    def read(self, name: str) -> bytes:
        """The content of a regular file, at most one byte more than a valid one has. Raises Flaw."""
        try:
            with self._opened() as folder:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                try:
                    if not stat.S_ISREG(os.fstat(file).st_mode):
                        raise Flaw("not a regular file")
                    with open(file, "rb", closefd=False) as stream:
                        return stream.read(MAX_BYTES + 1)
                finally:
                    os.close(file)
        except OSError as error:
            raise Flaw(_why(error)) from None

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place in one step, 0600; a link of that name is replaced, not followed. Raises NotAllowed."""
        temporary = f".{name}.{secrets.token_hex(8)}"
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            with self._opened() as folder:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(temporary, flags, 0o600, dir_fd=folder)
                try:
                    with os.fdopen(file, "wb") as stream:
                        stream.write(content)
                        stream.flush()
                        os.fsync(file)
                    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError:
                    os.unlink(temporary, dir_fd=folder)
                    raise
                os.fsync(folder)
        except OSError as error:
            raise NotAllowed(f"{self.path.name}/{name} cannot be written: {_why(error)}") from None

    def delete(self, name: str) -> None:
        """Take a file away. Raises NotAllowed."""
        try:
            with self._opened() as folder:
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
        except OSError as error:
            raise NotAllowed(f"{self.path.name}/{name} cannot be removed: {_why(error)}") from None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError as error:  # Linux says so of a link as well
            raise (OSError(errno.ELOOP, "") if self.path.is_symlink() else error) from None
        try:
            yield folder
        finally:
            os.close(folder)


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """The state of a file, or None where it went while the folder was listed."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def _why(error: OSError) -> str:
    """What the system says, with a symbolic link called by its name."""
    if error.errno == errno.ELOOP:
        return "a symbolic link, which is not followed"
    return (error.strerror or type(error).__name__).lower()
