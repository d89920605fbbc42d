"""Names that get into files, headers and environments (P20)."""

import pytest

from authsome.model.names import CONNECTION, PROVIDER, is_exportable, is_header_value, is_settable_header


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "NOTION_ACCESS_TOKEN", "_key", "NODE_AUTH_TOKEN", "OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"],
)
def test_an_ordinary_variable_may_hold_a_credential(name: str) -> None:
    assert is_exportable(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "path", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "HTTP_PROXY", "https_proxy",
        "NO_PROXY",
        "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "PYTHONPATH", "PYTHONSTARTUP",
        "GIT_SSH_COMMAND",
        "GIT_ASKPASS", "BASH_ENV", "ENV", "IFS", "PS4", "PROMPT_COMMAND", "HOME", "SHELL", "EDITOR",
        "LESSOPEN", "GLIBC_TUNABLES",
        "SSL_CERT_FILE", "SSLKEYLOGFILE", "CURL_CA_BUNDLE", "OPENSSL_CONF", "PERL5LIB", "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "LUA_INIT", "VIMINIT", "TAR_OPTIONS", "DOTNET_STARTUP_HOOKS", "RSYNC_RSH", "SUDO_ASKPASS", "XAUTHORITY", "PWD",
        "RESTIC_PASSWORD_COMMAND", "ANSIBLE_VAULT_PASSWORD_FILE", "X", "_",
        "CLASSPATH", "AUTHSOME_HOME", "AUTHSOME_ROOT_KEY", "NPM_CONFIG_REGISTRY", "SSH_AUTH_SOCK", "KUBECONFIG",
    ],
)  # fmt: skip
def test_a_variable_that_steers_programs_may_not(name: str) -> None:  # P20
    assert not is_exportable(name)


@pytest.mark.parametrize("name", ["", "1X", "A-B", "A B", "A=B", "A\n", "\u00c4", "A\x00", "X" * 129, "A;id", "$A"])
def test_a_text_that_is_no_variable_may_not(name: str) -> None:  # P20
    assert not is_exportable(name)


@pytest.mark.parametrize(
    "name", ["Authorization", "x-api-key", "X-Goog-Api-Key", "Notion-Version", "User-Agent", "Accept"]
)
def test_a_header_of_an_api_may_be_set(name: str) -> None:
    assert is_settable_header(name)


@pytest.mark.parametrize(
    "name",
    [
        "Host", "host", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect",
        "Proxy-Authorization", "Accept-Encoding", "X-Forwarded-For", "Sec-Fetch-Site", "X-Authsome-Connection",
        "", "X Y", "X:Y", "X\r\nY", "\u00dcber", "X\x00", ":authority", "X" * 129,
    ],
)  # fmt: skip
def test_a_header_that_frames_the_message_may_not(name: str) -> None:  # P2, P20
    assert not is_settable_header(name)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("Bearer x", True), ("", True), ("a\tb", True), ("\u00fc", True), ("a\r\nb", False), ("a\nb", False),
        ("a\x00", False),
        (" a", False), ("a ", False), ("\t", False), ("\x7f", False), ("\u0142", False), ("\x1b[31m", False),
    ],
)  # fmt: skip
def test_a_header_value_holds_no_line_end(value: str, good: bool) -> None:  # P20, X38
    assert is_header_value(value) is good


@pytest.mark.parametrize("name", ["notion_dcr", "linear-mcp", "42-school", "a.b", "a" * 64])
def test_a_provider_name_is_a_file_name(name: str) -> None:
    assert PROVIDER.match(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "A", "-a", ".a", "a b", "a\n", "a\x00", "a" * 65, "\u0430"]
)
def test_what_could_lead_elsewhere_is_no_provider_name(name: str) -> None:
    assert not PROVIDER.match(name)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("work", True),
        ("me@example.com", True),
        ("a+b", True),
        ("", False),
        ("a/b", False),
        ("-x", False),
        ("a\n", False),
    ],
)
def test_a_connection_name_can_stand_in_a_command(name: str, good: bool) -> None:
    assert bool(CONNECTION.match(name)) is good
