"""What may be a name: of a provider, a connection, a header, an environment variable."""

import re

CONNECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")
PROVIDER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")

# What a variable that holds a credential is called. Those that steer programs have other names, so this list needs to
# know none of them but the few that end alike (P20).
_CREDENTIAL = re.compile(
    r".*(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASS|PWD|PAT|CREDENTIALS?|AUTH|BEARER)(_(?!CMD|COMMAND|FILE|PATH|DIR|SOCK"
    r"|HELPER|PROGRAM|BIN|URL|URI|HOST|PROXY)[A-Z0-9]+)?\Z",
    re.IGNORECASE,
)
_STEERING = re.compile(
    r"(PWD|OLDPWD|.*ASKPASS|LD_.*|DYLD_.*|.*_PROXY|BASH_FUNC.*|NODE_(?!AUTH_TOKEN\Z).*|NPM_.*|PYTHON.*|PIP_.*|UV_.*"
    r"|PERL.*|RUBY.*|GIT_.*|SSH_.*|OPENSSL_.*|AUTHSOME_.*)\Z",
    re.IGNORECASE,
)

# Headers that frame, route or secure the message itself: never one that a provider file sets (P2, P20).
_FRAMING = re.compile(
    r"(host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|via|forwarded|alt-svc|range|if-.*"
    r"|content-(length|encoding|range|location|disposition)|accept-encoding|origin|referer|sec-.*|proxy-.*"
    r"|x-forwarded-.*|x-http-method.*|x-method-override|x-authsome-.*)\Z",
    re.IGNORECASE,
)


def is_exportable(variable: str) -> bool:
    """Whether a credential may be exported under this variable name (P20)."""
    return (
        VARIABLE.match(variable) is not None
        and _CREDENTIAL.match(variable) is not None
        and _STEERING.match(variable) is None
    )


def is_settable_header(name: str) -> bool:
    """Whether a provider file may set this header (P20)."""
    return HEADER.match(name) is not None and _FRAMING.match(name) is None


def is_header_value(value: str) -> bool:
    """Whether this can stand as a field value: visible latin-1, blanks and tabs inside (RFC 9110 §5.5)."""
    return value == value.strip(" \t") and all(c == "\t" or " " <= c <= "~" or "\x80" <= c <= "\xff" for c in value)
