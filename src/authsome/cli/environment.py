"""The environment of a run's command: the caller's own, what the daemon lent, and nothing that leads past the proxy.

Pure; the variables are data. Which client reads which of them was measured: docs/cli.md has the summary.
"""

from collections.abc import Iterable, Mapping

from authsome.cli.client import Answer

PROXIES = (
    "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "grpc_proxy",
    "PIP_PROXY", "CARGO_HTTP_PROXY", "npm_config_proxy", "npm_config_https_proxy",
)  # fmt: skip
"""Each names the proxy. The tools' own ones are set because they, and the tools' files, win over HTTPS_PROXY."""

EXCEPTIONS = ("NO_PROXY", "no_proxy", "npm_config_noproxy")
"""Each names what goes past the proxy."""

BUNDLES = (
    "SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS", "DENO_CERT", "npm_config_cafile", "GIT_SSL_CAINFO", "PIP_CERT", "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HTTPLIB2_CA_CERTS", "WEBSOCKET_CLIENT_CA_BUNDLE",
    "PERL_LWP_SSL_CA_FILE", "HTTPS_CA_FILE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "BUNDLE_SSL_CA_CERT",
)  # fmt: skip
"""Each names the one combined bundle of CA certificates."""

REMOVED = (
    "SSL_CERT_DIR", "GIT_SSL_CAPATH", "PERL_LWP_SSL_CA_PATH", "HTTPS_CA_DIR", "npm_config_ca",
    "ws_proxy", "wss_proxy", "socks_proxy", "npm_config_http_proxy",
    "YARN_HTTP_PROXY", "YARN_HTTPS_PROXY", "YARN_CA_FILE_PATH", "YARN_HTTPS_CA_FILE_PATH",
    "CLOUDSDK_PROXY_TYPE", "CLOUDSDK_PROXY_ADDRESS", "CLOUDSDK_PROXY_PORT", "CLOUDSDK_PROXY_RDNS",
    "CLOUDSDK_PROXY_USERNAME", "CLOUDSDK_PROXY_PASSWORD",
    "AUTHSOME_ROOT_KEY", "AUTHSOME_ROOT_KEY_FILE", "AUTHSOME_DATABASE_URL",
)  # fmt: skip
"""Inherited ones that would lead past the proxy, break its certificates, or open the vault."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GIT = ("http.proxy", "http.sslCAInfo")


def compose(inherited: Mapping[str, str], lent: Answer) -> tuple[dict[str, str], list[str]]:
    """The command's variables, and a remark for each entry of NO_PROXY that had to go.

    `lent` is the daemon's answer to a new run: `run`, `proxy`, `ca_bundle`, `directory`, `hosts`, `placeholders`,
    `withheld`.
    """
    proxy, bundle, directory = str(lent["proxy"]), str(lent["ca_bundle"]), str(lent["directory"])
    exceptions, remarks = _exceptions(inherited, lent.get("hosts", ()))
    ours = dict.fromkeys(PROXIES, proxy)
    ours.update(dict.fromkeys(EXCEPTIONS, ",".join(exceptions)))
    ours.update(dict.fromkeys(BUNDLES, bundle))
    ours.update(
        {
            "NODE_USE_ENV_PROXY": "1",
            "WGETRC": f"{directory}/wgetrc",
            "PHP_INI_SCAN_DIR": f"{inherited.get('PHP_INI_SCAN_DIR', '')}:{directory}/php",
            "AUTHSOME_RUN": str(lent["run"]),
            **_git(inherited, (proxy, bundle)),
        }
    )
    replaced = {_fold(name) for name in (*ours, *REMOVED)}
    withheld = set(lent.get("withheld", ()))  # exported earlier, and not lent to this run
    composed = {n: v for n, v in inherited.items() if _fold(n) not in replaced and n not in withheld}
    composed.update((str(name), str(value)) for name, value in lent["placeholders"].items())
    composed.update(ours)
    return composed, remarks


def own_bundles(inherited: Mapping[str, str]) -> list[str]:
    """The files of CA certificates that the caller's variables name, for the combined bundle."""
    return list(dict.fromkeys(inherited[name] for name in BUNDLES if inherited.get(name)))


def own_wgetrc(text: str, ours: str) -> str:
    """The caller's wget settings but for proxies and certificates, then ours."""
    steering = ("cacertificate", "cadirectory", "httpproxy", "httpsproxy", "noproxy", "useproxy")
    kept = [
        line
        for line in text.splitlines()
        if line.partition("=")[0].strip().lower().replace("_", "").replace("-", "") not in steering
    ]
    return "\n".join([*kept, ours])


def _fold(name: str) -> str:
    # Several programs read their variables in any case, npm with either dash.
    return name.lower().replace("-", "_")


def _git(inherited: Mapping[str, str], values: tuple[str, ...]) -> dict[str, str]:
    """Settings for git after those that the caller hands on in the same way (git-config, GIT_CONFIG_COUNT)."""
    text = inherited.get("GIT_CONFIG_COUNT", "")
    count = int(text) if text.isascii() and text.isdecimal() else 0
    settings = {"GIT_CONFIG_COUNT": str(count + len(_GIT))}
    for number, (key, value) in enumerate(zip(_GIT, values, strict=True), count):
        settings[f"GIT_CONFIG_KEY_{number}"] = key
        settings[f"GIT_CONFIG_VALUE_{number}"] = value
    return settings


def _exceptions(inherited: Mapping[str, str], hosts: Iterable[str]) -> tuple[list[str], list[str]]:
    """What may go past the proxy: the caller's entries and loopback, less what covers a routed host."""
    patterns = [_split_port(host.partition("/")[0].lower()) for host in hosts]
    kept: dict[str, None] = {}
    remarks = []
    given = ",".join(value for name, value in inherited.items() if _fold(name) in ("no_proxy", "npm_config_noproxy"))
    own = dict.fromkeys(given.replace(",", " ").split())
    for entry in own:
        covered = _covered(entry, patterns)
        if covered is None:
            kept[entry] = None
        else:
            remarks.append(f"NO_PROXY: left out {entry!r}, it would lead past the proxy to {covered}")
    kept.update((entry, None) for entry in LOOPBACK if _covered(entry, patterns) is None)
    return list(kept), remarks


def _covered(entry: str, patterns: list[tuple[str, str]]) -> str | None:
    """The first routed host that some client would take the entry to mean, None if there is none.

    Clients differ, so this takes the widest reading: any suffix, with or without a dot or a star.
    """
    host, port = _split_port(entry.lower())
    tail = host.rpartition("*")[2].lstrip(".")
    if not tail:
        return "every host"
    for pattern, pattern_port in patterns:
        if port and pattern_port and port != pattern_port:
            continue
        name = pattern.removeprefix("*.")
        inside = pattern.startswith("*.") and tail.endswith(f".{name}")
        if name.endswith(tail) or inside or _in_network(name, host):
            return pattern
    return None


def _in_network(name: str, entry: str) -> bool:
    """Whether an entry like `10.0.0.0/8` holds a routed address."""
    if "/" not in entry or not (":" in name or name.rpartition(".")[2].isdecimal()):
        return False
    import ipaddress  # routes to addresses are rare

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(text: str) -> tuple[str, str]:
    """Host without brackets, and port or nothing."""
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), port
    return text.strip("[]"), ""
