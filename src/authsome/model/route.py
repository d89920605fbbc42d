"""`Route`: where a credential may go: a host pattern, a port and a path prefix."""

import re
from dataclasses import dataclass
from functools import lru_cache

from authsome.model.address import AddressKind, kind_of
from authsome.model.authority import Authority, BadAuthority, normal_host
from authsome.model.pattern import BadPattern, Pattern

WILDCARD = "*."
REGEX = "regex:"

_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()+,=:@-]+)*/?\Z")
# Inside a country's domain these are shared by many owners: example.co.uk is an owner's, co.uk is not.
_SHARED = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "mil", "ne", "net", "or", "org"})
_DOMAIN = re.compile(r"(?<!\\)(?:\\\.[A-Za-z0-9_-]+)+\$\Z")  # how a host pattern ends: \.example\.com$
_CAPITAL = re.compile(r"(?<!\\)[A-Z]")


@dataclass(frozen=True, slots=True)
class Route:
    """A destination of a credential.

    `host` is one of three kinds (P17): an exact host; `*.` and at least two labels, where the star
    stands for one label; `regex:^…$`, a pattern that ends in such a domain and says which first labels
    are meant. `path` is a normalised prefix that ends at a segment border; `/` covers the host.
    The text form (`str`, `parse`) is what a connection pins at login (P18).
    """

    host: str
    port: int = 443
    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> "Route":
        """`host`, `host:port`, `*.host`, `host/path`, an `https://` URL or `regex:^…$`. Raises BadAuthority."""
        if text.startswith(REGEX):
            _host_pattern(text)
            return cls(text)
        scheme, separator, rest = text.partition("://")
        if separator and scheme != "https":
            raise BadAuthority("only https can carry a credential")
        if any(c in text for c in "?#\\ \t\r\n"):
            raise BadAuthority("a query, a fragment or a blank does not belong here")
        netloc, slash, path = (rest if separator else text).partition("/")
        path = slash + path
        if not _PATH.match(path) or "/./" in f"{path}/" or "/../" in f"{path}/":
            raise BadAuthority("the path is not in its plain form")
        wildcard = netloc.startswith(WILDCARD)
        domain = netloc[len(WILDCARD) :] if wildcard else netloc
        if "*" in domain:
            raise BadAuthority("a wildcard stands for the first label alone")
        authority = Authority.parse(domain)
        if wildcard:
            _check_domain(authority.host, "a wildcard")
        return cls((WILDCARD if wildcard else "") + authority.host, authority.port, path.rstrip("/") or "/")

    def covers_host(self, authority: Authority) -> bool:
        """Whether host and port are this route's, whatever the path."""
        if authority.port != self.port:
            return False
        if self.host.startswith(WILDCARD):
            return _is_one_label_below(self.host[len(WILDCARD) :], authority)
        if self.host.startswith(REGEX):
            domain, pattern = _host_pattern(self.host)
            return _is_one_label_below(domain, authority) and pattern.matches(authority.host)
        return authority.host == self.host

    def covers_path(self, path: str) -> bool:
        """Whether a normalised path lies under this route's prefix."""
        return self.path == "/" or path == self.path or path.startswith(self.path + "/")

    @property
    def is_exact(self) -> bool:
        """Whether the host is one host, not a pattern."""
        return not self.host.startswith((WILDCARD, REGEX))

    @property
    def rank(self) -> tuple[int, int]:
        """More specific routes have the greater rank: exact host, wildcard, pattern; then the longer path."""
        return (2 if self.is_exact else 1 if self.host.startswith(WILDCARD) else 0, len(self.path))

    @property
    def netloc(self) -> str:
        """Host and port as in a URL; the port only where it is not 443."""
        port = "" if self.port == 443 else f":{self.port}"
        host = f"[{self.host}]" if self.is_exact and ":" in self.host else self.host
        return host + port

    def __str__(self) -> str:
        return f"{self.netloc}{'' if self.path == '/' else self.path}"


def _is_one_label_below(domain: str, authority: Authority) -> bool:
    return not authority.is_ip and authority.host.partition(".")[2] == domain


@lru_cache(maxsize=1024)
def _host_pattern(text: str) -> tuple[str, Pattern]:
    """The domain that a host pattern ends in and the pattern, which has to match in one label below it (P17)."""
    source = text[len(REGEX) :]
    try:
        pattern = Pattern.parse(source)
    except BadPattern as error:
        raise BadAuthority(str(error)) from None
    if not source.startswith("^") or not source.endswith("$") or source.endswith("\\$"):
        raise BadAuthority("a host pattern stands between ^ and $")
    end = _DOMAIN.search(source)
    if end is None:
        raise BadAuthority(r"a host pattern ends in a literal domain such as \.example\.com")
    domain = end[0][2:-1].replace("\\", "")
    if normal_host(domain) != domain:
        raise BadAuthority("the domain of a host pattern is not in its plain form")
    _check_domain(domain, "a host pattern")
    label = source[: end.start()]
    if "\\." in label:
        raise BadAuthority("what varies in a host pattern stays within its first label")
    if _CAPITAL.search(label):
        raise BadAuthority("a host pattern is in lower case, as hosts are")
    return domain, pattern


def _check_domain(domain: str, what: str) -> None:
    """Refuse what no single owner holds, so that a pattern cannot reach beyond one (P17)."""
    labels = domain.split(".")
    if Authority(domain, 443).is_ip:
        raise BadAuthority(f"{what} has no place in an IP address")
    if len(labels) < 2:
        raise BadAuthority(f"{what} needs at least two literal labels at its end")
    if len(labels) == 2 and labels[0] in _SHARED and len(labels[1]) == 2:
        raise BadAuthority(f"{what} over {domain} would reach many owners: name one label more")


def is_loopback_url(url: str) -> bool:
    """Whether the host of a URL is this machine by its name alone."""
    try:
        authority = Authority.of_url(url)
    except BadAuthority:
        return False
    if authority.is_ip:
        return kind_of(authority.host) is AddressKind.LOOPBACK
    return authority.host == "localhost" or authority.host.endswith(".localhost")
