"""Files of CA certificates that clients read whatever the variables say, as far as they are found.

An isolated run has its own bundle in their place. What is not known here, the owner names with --trust-file.
"""

import os
from collections.abc import Iterable, Mapping

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


def find(command: str, environment: Mapping[str, str], current: str) -> list[str]:
    """The files, for a command that is started in the directory `current`."""
    libraries = dict.fromkeys(_libraries(_prefixes(command, environment, current)))
    packaged = [f"{library}/{name}" for library in libraries for name in _PACKAGES]
    return [path for path in (*_SYSTEM, *packaged) if os.path.isfile(path)]


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


def _libraries(prefixes: Iterable[str]) -> Iterable[str]:
    """The directories of packages below those, each by its real path."""
    for place in dict.fromkeys(os.path.realpath(f"{each}/{name}") for each in prefixes for name in _LIBRARIES):
        try:
            versions = [name for name in os.listdir(place) if name.startswith("python3")]
        except OSError:
            continue
        yield from (f"{place}/{version}/{name}" for version in versions for name in _COLLECTIONS)


def _program(name: str, path: str) -> str:
    """What a shell would start, or an empty text."""
    places = [name] if "/" in name else [os.path.join(place, name) for place in path.split(os.pathsep)]
    return next((each for each in places if os.path.isfile(each) and os.access(each, os.X_OK)), "")
