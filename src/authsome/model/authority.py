"""`Authority`: one host and port, parsed once and compared as a value (P2)."""

import ipaddress
import re
from dataclasses import dataclass

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_URL = re.compile(r"(https?)://([^/?#]*)(?:[/?#].*)?\Z", re.IGNORECASE)
_LONGEST = 253  # RFC 1035 §2.3.4, without the root


class BadAuthority(ValueError):
    """Not a host and port that can be told apart from every other; the message says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A destination. `host` is lower-case A-labels without a trailing dot, or a canonical IP address.

    Build it with `Authority.parse`: user information, encodings, zone ids and the many spellings
    of one IP address never get past it.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int = 443) -> "Authority":
        """`host`, `host:port`, `[v6]` or `[v6]:port` (RFC 3986 §3.2 without userinfo).

        Raises BadAuthority.
        """
        if text.startswith("["):
            end = text.find("]") + 1
            if not end:
                raise BadAuthority("an IPv6 address lacks its closing bracket")
            host, rest = text[:end], text[end:]
            if rest and not rest.startswith(":"):
                raise BadAuthority("something stands between the address and the port")
        else:
            host, colon, after = text.partition(":")
            rest = colon + after
        return cls(normal_host(host), _port(rest[1:]) if rest else default_port)

    @classmethod
    def of_url(cls, url: str) -> "Authority":
        """The authority of an http or https URL in visible ASCII. Raises BadAuthority."""
        found = _URL.match(url)
        if not found or "\\" in url or not all("!" <= c <= "~" for c in url):
            raise BadAuthority("not an http or https URL")
        return cls.parse(found[2], 443 if found[1].lower() == "https" else 80)

    @property
    def is_ip(self) -> bool:
        """Whether the host is an address rather than a name."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    @property
    def netloc(self) -> str:
        """As it stands in a URL: the port only where it is not 443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def normal_host(host: str) -> str:
    """One spelling for one host: UTS 46 A-labels, lower case, no trailing dot, canonical IPs.

    Raises BadAuthority for anything that another parser could read differently.
    """
    if host.startswith("["):
        return _ipv6(host)
    if len(host) > _LONGEST + 1:
        raise BadAuthority("a host name has at most 253 characters")
    if not host.isascii():
        host = ".".join(label if label.isascii() else _to_ascii(label) for label in host.split("."))
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > _LONGEST or not all(_LABEL.match(label) for label in labels):
        raise BadAuthority("not a host name")
    if _NUMBER.match(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise BadAuthority("not an IPv4 address in its usual form") from None
    return host


def _port(text: str) -> int:
    if not _PORT.match(text) or not 0 < int(text) < 65536:
        raise BadAuthority("the port is not a number from 1 to 65535")
    return int(text)


def _ipv6(text: str) -> str:
    if "%" in text:
        raise BadAuthority("a zone id is not allowed")
    try:
        if not text.endswith("]"):
            raise ValueError
        return str(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        raise BadAuthority("not an IPv6 address") from None


def _to_ascii(label: str) -> str:
    """The A-label. One that UTS 46 folds to plain ASCII (full width, soft hyphen) only imitates another name (X15)."""
    import idna  # tables of several hundred kilobytes, needed for a handful of hosts

    try:
        ascii_label = idna.encode(label, uts46=True, std3_rules=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        raise BadAuthority("not a host name by UTS 46") from None
    if not ascii_label.startswith("xn--") or "." in ascii_label:
        raise BadAuthority("not a host name in its plain form")
    return ascii_label
