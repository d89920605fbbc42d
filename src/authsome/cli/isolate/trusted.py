"""Files of CA certificates that clients read whatever the variables say, as far as they are found.

An isolated run has its own bundle in their place. What is not known here, the owner names with --trust-file.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from authsome.errors import UsageError

_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem", "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
)  # fmt: skip
_PACKAGES = (
    "certifi/cacert.pem", "pip/_vendor/certifi/cacert.pem", "stripe/data/ca-certificates.crt", "botocore/cacert.pem",
    "httplib2/cacerts.txt", "grpc/_cython/_credentials/roots.pem",
)  # fmt: skip
"""What packages for Python bring along."""

_PYTHONS = ("python3", "python")
_ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX")
_BESIDE = (".venv", "venv")
_LIBRARIES, _COLLECTIONS = ("lib", "lib64"), ("site-packages", "dist-packages")
_MOST_NAMES, _MOST_VERSIONS = 4096, 16
"""In one place. A project can hold as many as it likes, and each is looked at before the command starts."""

_MOST_BYTES = 8 << 20
"""Of a file that is named, as the daemon has it."""

_BEGINNING = 16 << 10
"""Of a file that is found; gRPC has a licence of five KiB before the first certificate."""

_CERTIFICATE = re.compile(rb"^(?:\xef\xbb\xbf)?-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE)
"""How one begins in a PEM file (RFC 7468 §5.1, and OpenSSL's own two)."""


def find(command: str, environment: Mapping[str, str], current: str) -> list[str]:
    """The real paths of the files, for a command that is started in the directory `current`."""
    system = [os.path.realpath(path) for path in _SYSTEM if os.path.isfile(path)]
    libraries = dict.fromkeys(_libraries(_prefixes(command, environment, current)))
    return list(dict.fromkeys([*system, *(path for library in libraries for path in _packaged(library))]))


def check_named(path: str) -> None:
    """Raises UsageError for a file without certificates: covered by some it would only be lost."""
    try:
        content = _read(path, _MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--trust-file {path}: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"--trust-file {path}: a file of CA certificates may have {_MOST_BYTES >> 20} MiB")
    if not _CERTIFICATE.search(content):
        raise UsageError(
            f"--trust-file {path}: there is no certificate in there", "expected CA certificates in PEM form"
        )


def _packaged(library: str) -> Iterator[str]:
    """What packages in there bring along. A link that leads out of it could mean any file of the person's."""
    for name in _PACKAGES:
        path = os.path.realpath(f"{library}/{name}")
        if path.startswith(f"{library}/") and _is_bundle(path):
            yield path


def _is_bundle(path: str) -> bool:
    try:
        return bool(_CERTIFICATE.search(_read(path, _BEGINNING)))
    except OSError:
        return False


def _read(path: str, size: int) -> bytes:
    """At most so much of a regular file. Raises OSError."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "this is no regular file")
        return file.read(size)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its other end


def _prefixes(command: str, environment: Mapping[str, str], current: str) -> Iterable[str]:
    """Where a Python may be installed that the command is, or belongs to, or starts."""
    for name in (command, *_PYTHONS):
        program = _program(name, environment.get("PATH", os.defpath))
        if program:
            for path in (program, os.path.realpath(program)):
                yield os.path.dirname(os.path.dirname(os.path.abspath(path)))
    yield from (environment[name] for name in _ENVIRONMENTS if environment.get(name))
    yield from (os.path.join(current, name) for name in _BESIDE)
    yield os.path.join(environment.get("HOME", ""), ".local")
    yield "/usr/local"


def _libraries(prefixes: Iterable[str]) -> Iterator[str]:
    """The real paths of the directories of packages below those."""
    for place in dict.fromkeys(os.path.realpath(f"{each}/{name}") for each in prefixes for name in _LIBRARIES):
        try:
            with os.scandir(place) as entries:
                names = [entry.name for entry in islice(entries, _MOST_NAMES)]
        except OSError:
            continue
        versions = sorted(name for name in names if name.startswith("python3"))[:_MOST_VERSIONS]
        found = (f"{place}/{version}/{name}" for version in versions for name in _COLLECTIONS)
        yield from (os.path.realpath(each) for each in found if os.path.isdir(each))


def _program(name: str, path: str) -> str:
    """What a shell would start, or an empty text."""
    places = [name] if "/" in name else [os.path.join(place, name) for place in path.split(os.pathsep)]
    return next((each for each in places if os.path.isfile(each) and os.access(each, os.X_OK)), "")
