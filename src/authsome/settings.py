"""The settings: the one place that reads the environment, light enough for the command line.

Environment first, then `config.toml` in the home, then the defaults.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from authsome.errors import UsageError

DEFAULT_PORT = 7998
MOST_WORKERS = 64
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Settings(NamedTuple):
    """What the owner can choose. Paths are absolute strings; `resolve` maps a host to `address:port`.

    A `database_url` is refused by the vault, so that nobody takes what is kept here for what is kept there.
    `reveal` maps a provider, or `*`, to allow, ask or deny: whether its credentials are handed out in clear.
    `upstream_proxy` is a URL, with credentials perhaps; `upstream_proxy_setting` is what it was set by.
    `workers` is the number of processes that the proxy runs in; one is the daemon itself.
    """

    home: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    proxy_port: int = 0
    root_key: str | None = None
    root_key_file: str | None = None
    database_url: str | None = None
    ca_files: tuple[str, ...] = ()
    resolve: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    upstream_proxy: str = ""
    upstream_proxy_setting: str = "upstream_proxy"
    no_proxy: tuple[str, ...] = ()
    reveal: dict[str, str] = {}  # noqa: RUF012
    workers: int = 1

    def __repr__(self) -> str:
        return f"Settings(home={self.home!r})"  # there are secrets among the others

    def path(self, *parts: str) -> str:
        """A file or directory of the home."""
        return os.path.join(self.home, *parts)

    @property
    def socket_path(self) -> str:
        """The Unix socket on which the daemon serves the owner."""
        return self.path("run", "daemon.sock")

    @property
    def handover_path(self) -> str:
        """The Unix socket on which isolated runs hand out the sockets of their own network."""
        return self.path("run", "handover.sock")

    @property
    def origin(self) -> str:
        """What the browser's pages and the OAuth callback start with."""
        return f"http://{self.host}:{self.port}"

    @property
    def redirect_uri(self) -> str:
        """Where authorization servers send the browser back to."""
        return f"{self.origin}/auth/callback/oauth"


def read_home() -> str:
    """The home alone, for callers that need nothing else."""
    return os.path.abspath(os.environ.get("AUTHSOME_HOME") or os.path.expanduser("~/.authsome"))


def read_settings() -> Settings:
    """Everything. Raises UsageError naming the variable or the key that is wrong."""
    home = read_home()
    config = _read_config(os.path.join(home, "config.toml"))
    env = os.environ

    def choose(name: str) -> str | None:
        value = env.get(f"AUTHSOME_{name.upper()}") or config.get(name)
        if value is not None and not isinstance(value, (str, int)):
            raise UsageError(f"config.toml: {name}: expected text or a number")
        return None if value is None else str(value)

    resolve = config.get("resolve", {})
    if not isinstance(resolve, dict) or not all(isinstance(v, str) for v in resolve.values()):
        raise UsageError('config.toml: resolve: expected a table of host = "address:port"')
    proxy, setting = _upstream_proxy(env, config)
    return Settings(
        home=home,
        host=_loopback(choose("host") or "127.0.0.1"),
        port=_port("port", choose("port"), DEFAULT_PORT),
        proxy_port=_port("proxy_port", choose("proxy_port"), 0),
        root_key=env.get("AUTHSOME_ROOT_KEY") or None,
        root_key_file=choose("root_key_file"),
        database_url=env.get("AUTHSOME_DATABASE_URL") or None,
        ca_files=_ca_files(choose("ca_file"), env.get("SSL_CERT_FILE")),
        resolve=resolve,
        upstream_proxy=proxy,
        upstream_proxy_setting=setting,
        no_proxy=_no_proxy(env, config),
        reveal=_reveal(config.get("reveal", {})),
        workers=check_workers(config.get("workers", 1), "config.toml: workers"),
    )


def check_workers(value: object, name: str) -> int:
    """A number of workers, from where `name` says. Raises UsageError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_WORKERS:
        raise UsageError(f"{name}: expected a number from 1 to {MOST_WORKERS}, got {value!r}")
    return value


def bare_environment(home: str) -> dict[str, str]:
    """For a process of ours that is told its settings otherwise: none of them, and so no secret, but the home."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("AUTHSOME_") and n not in _PROXIES}
    return kept | {"AUTHSOME_HOME": home}


def _read_config(path: str) -> dict[str, object]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the with below
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    import tomllib  # only where there is a file to read

    known = {
        "host", "port", "proxy_port", "root_key_file", "ca_file", "resolve", "upstream_proxy", "no_proxy", "reveal",
        "workers",
    }  # fmt: skip
    with file:
        try:
            config = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: {error}", "see docs/configuration.md") from None
    for name in config:
        if name not in known:
            raise UsageError(f"{path}: unknown key {name!r}", f"known keys: {', '.join(sorted(known))}")
    return config


def _reveal(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(value in ("allow", "ask", "deny") for value in found.values()):
        raise UsageError(
            'config.toml: reveal: expected a table of provider = "allow", "ask" or "deny"', '"*" means any'
        )
    return found


def _ca_files(ours: str | None, general: str | None) -> tuple[str, ...]:
    """Our own variable has to name a file; the general one may be left over from anywhere."""
    return tuple(path for path in (ours, general if general and os.path.isfile(general) else None) if path)


def _upstream_proxy(env: Mapping[str, str], config: Mapping[str, object]) -> tuple[str, str]:
    """The proxy and the setting that names it. The variables belong to whichever command started us: the file wins."""
    own = config.get("upstream_proxy")
    if own is not None:
        if not isinstance(own, str):
            raise UsageError("config.toml: upstream_proxy: expected a URL, http://HOST:PORT")
        return own, "upstream_proxy"
    if env.get("AUTHSOME_RUN"):
        return "", ""  # they lead to a proxy of authsome's own
    return next(((env[name], name) for name in _PROXIES if env.get(name)), ("", ""))


def _no_proxy(env: Mapping[str, str], config: Mapping[str, object]) -> tuple[str, ...]:
    own = config.get("no_proxy")
    if own is None:
        return tuple((env.get("no_proxy") or env.get("NO_PROXY") or "").replace(",", " ").split())
    if not isinstance(own, list) or not all(isinstance(entry, str) for entry in own):
        raise UsageError("config.toml: no_proxy: expected a list of hosts, names or networks")
    return tuple(own)


def _port(name: str, value: str | None, default: int) -> int:
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or not int(value) < 65536:
        raise UsageError(f"{name}: expected a port number, got {value!r}", f"set AUTHSOME_{name.upper()} to 1 … 65535")
    return int(value)


def _loopback(host: str) -> str:
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise UsageError(
            f"host: {host!r} is not a loopback address",
            "authsome serves this machine only: use 127.0.0.1",
        )
    return host
