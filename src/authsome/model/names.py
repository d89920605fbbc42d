"""What may be a name: of a provider, a connection, a header, an environment variable."""

import re

CONNECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")
PROVIDER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")

# Variables that steer a program rather than inform it: never the name of an exported credential (P20).
_STEERING = re.compile(
    r"(PATH|CDPATH|FPATH|MANPATH|HOME|PWD|OLDPWD|SHELL|SHELLOPTS|BASHOPTS|USER|LOGNAME|IFS|ENV|BASH_ENV|BASH_FUNC.*"
    r"|ZDOTDIR|PS[0-9]|PROMPT|PROMPT_COMMAND|HISTFILE|TERM|TERMINFO.*|TERMCAP|LANG|LC_.*|TMPDIR|TEMP|TMP|TZ|TZDIR"
    r"|EDITOR|VISUAL|PAGER|MANPAGER|BROWSER|LESS|LESSOPEN|LESSCLOSE|XDG_.*"
    r"|LD_.*|DYLD_.*|GCONV_PATH|LOCPATH|NLSPATH|GLIBC_TUNABLES|MALLOC_.*"
    r"|.*_PROXY|RES_OPTIONS|LOCALDOMAIN|HOSTALIASES|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE|.*_CA_BUNDLE|OPENSSL_.*"
    r"|NODE_(OPTIONS|PATH|EXTRA_CA_CERTS|TLS_REJECT_UNAUTHORIZED|REPL_.*|ICU_DATA)|NPM_CONFIG_.*|DENO_(CERT|TLS_.*|DIR)"
    r"|PYTHON.*|PIP_.*|UV_.*|PERL5?(LIB|OPT|DB).*|RUBY(OPT|LIB|PATH)|GEM_(HOME|PATH)|BUNDLE_.*|PHPRC|PHP_INI_SCAN_DIR"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|JAVA_HOME|CLASSPATH|MAVEN_OPTS|GRADLE_OPTS"
    r"|GO(FLAGS|PATH|ROOT|BIN|ENV|PROXY|SUMDB)|RUST(FLAGS|C|C_WRAPPER)|CARGO_(HOME|BUILD_.*|TARGET_.*)|CC|CXX|MAKEFLAGS"
    r"|GIT_.*|SSH_.*|GNUPGHOME|CURL_HOME|WGETRC|DOCKER_(HOST|CONFIG)|KUBECONFIG|AUTHSOME_.*)\Z",
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
    return VARIABLE.match(variable) is not None and _STEERING.match(variable) is None


def is_settable_header(name: str) -> bool:
    """Whether a provider file may set this header (P20)."""
    return HEADER.match(name) is not None and _FRAMING.match(name) is None


def is_header_value(value: str) -> bool:
    """Whether this can stand as a field value: visible latin-1, blanks and tabs inside (RFC 9110 §5.5)."""
    return value == value.strip(" \t") and all(c == "\t" or " " <= c <= "~" or "\x80" <= c <= "\xff" for c in value)
