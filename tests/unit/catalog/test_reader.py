"""Reading a provider file: strict, and every flaw named with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.catalog.reader import MAX_BYTES, read_provider, write_provider
from authsome.errors import InvalidProviderFile
from catalog.files import file, members


def refusal(text: str | bytes) -> str:
    with pytest.raises(InvalidProviderFile) as refused:
        read_provider(text, "providers/x.json")
    where, _, why = refused.value.message.partition(": ")
    assert where == "providers/x.json"
    assert refused.value.exit_status == 64
    assert why.isprintable()
    return why


def test_every_flaw_is_told_one_by_one_and_at_most_twenty() -> None:
    with pytest.raises(InvalidProviderFile) as refused:
        read_provider(file(name=..., oauth__tokn_url="x", oauth__token_url=...), "x.json")
    assert refused.value.message.endswith("(and 2 more)")
    assert refused.value.details["problems"] == [
        "$.oauth.tokn_url: unknown key, did you mean 'token_url'?",
        "$.name: is missing",
        "$.oauth.token_url: is missing",
    ]
    with pytest.raises(InvalidProviderFile) as many:
        read_provider(file(oauth__scopes=[5] * 30), "x.json")
    problems = many.value.details["problems"]
    assert isinstance(problems, list)
    assert problems[19:] == ["$.oauth.scopes[19]: expected a string", "and 10 more"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"oauth__scopes": [5]}, "$.oauth.scopes[0]: expected a string"),
        ({"oauth__scopes": ["a", None]}, "$.oauth.scopes[1]: expected a string"),
        ({"oauth__scopes": "a b"}, "$.oauth.scopes: expected a list"),
        ({"oauth__scopes": ["a b"]}, "$.oauth.scopes[0]: expected one scope"),
        ({"oauth__scopes": ["a,b"], "oauth__scope_separator": ","}, "$.oauth: the scope 'a,b' holds the scope_sep"),
        ({"oauth__scope": []}, "$.oauth.scope: unknown key, did you mean 'scopes'?"),
        ({"oauth__client_secret": "x"}, "$.oauth.client_secret: unknown key"),
        ({"scopes": []}, "$.scopes: unknown key, it belongs to $.oauth"),
        ({"$schema": "x"}, "$['$schema']: unknown key"),
        ({"oauth__token_url": ...}, "$.oauth.token_url: is missing"),
        ({"oauth__token_url": ..., "oauth__tokn_url": "x"},
         "$.oauth.tokn_url: unknown key, did you mean 'token_url'? (and 1 more)"),
        ({"oauth": ...}, "$: auth_type oauth2 needs the member 'oauth'"),
        ({"oauth": []}, "$.oauth: expected an object"),
        ({"name": ...}, "$.name: is missing"),
        ({"name": None}, "$.name: expected a string"),
        ({"name": "../x"}, "$.name: expected at most 64 lower-case letters"),
        ({"name": "a" * 65}, "$.name: has more than 64 characters"),
        ({"schema_version": 2}, "$.schema_version: expected 1"),
        ({"schema_version": True}, "$.schema_version: expected 1"),
        ({"schema_version": 1.0}, "$.schema_version: expected 1"),
        ({"auth_type": "oauth"}, "$.auth_type: expected 'oauth2' or 'api_key'"),
        ({"flow": "api_key"}, "$: the flow api_key does not lead to auth_type oauth2"),
        ({"auth_type": "api_key", "flow": "api_key"}, "$: auth_type api_key needs the member 'api_key'"),
        ({"oauth__pkce": "yes"}, "$.oauth.pkce: expected true or false"),
        ({"oauth__pkce": 1}, "$.oauth.pkce: expected true or false"),
        ({"api_url": []}, "$.api_url: has fewer than 1 members"),
        ({"api_url": 5}, "$.api_url: expected a list"),
        ({"api_url": "*.test"}, "$.api_url: '*.test': a wildcard needs at least two literal labels"),
        ({"api_url": ["a.test", "http://b.test"]}, "$.api_url[1]: 'http://b.test': only https"),
        ({"api_url": "regex:.*"}, "$.api_url: 'regex:.*': a host pattern stands between"),
        ({"api_url": "{site}.sample.test"}, "$.api_url: '{site}.sample.test': not a host name"),
        ({"api_url": "{base_url}.evil.test"}, "$.api_url: a path has to follow {base_url}"),
        ({"export__env": {"acces_token": "A"}}, "$.export.env.acces_token: expected 'access_token'"),
        ({"export__env": {"access_token": "PATH"}}, "$.export.env.access_token: 'PATH' cannot be the name"),
        ({"export__env": {"access_token": "A\nB"}}, "$.export.env.access_token: 'A\\nB' cannot be the name"),
        ({"api_key__env_var": "LD_PRELOAD"}, "$.api_key.env_var: 'LD_PRELOAD' cannot be the name"),
        ({"api_key__header_name": "Host"}, "$.api_key.header_name: 'Host' is not a header that a provider"),
        ({"api_key__header_prefix": "Bearer\r\n"}, "$.api_key.header_prefix: expected the value of a header"),
        ({"api_key__extra_headers": {"X": "a\r\nb"}}, "$.api_key.extra_headers.X: expected the value of a header"),
        ({"api_key__extra_headers": {"X\r\nY": "a"}}, "$.api_key.extra_headers['X\\r\\nY']: 'X\\r\\nY' is not a"),
        ({"api_key__extra_headers": {"X-A": "1", "x-a": "2"}}, "$.api_key: extra_headers names a header twice"),
        ({"api_key__extra_headers": {"authorization": "1"}}, "$.api_key: extra_headers names a header twice"),
        ({"api_key": {"query_param": "k", "username": "u"}}, "$.api_key: query_param, username and path_segment"),
        ({"api_key__query_param": "a&b"}, "$.api_key.query_param: 'a&b' is not the name of a parameter"),
        ({"api_key__username": "a:b"}, "$.api_key.username: expected the user name"),
        ({"api_key__key_pattern": "(?=a)b"}, "$.api_key.key_pattern: not a pattern that RE2 takes (invalid perl"),
        ({"api_key__key_pattern": "(a"}, "$.api_key.key_pattern: not a pattern that RE2 takes (missing ): (a)"),
        ({"placeholder": "short"}, "$.placeholder: has fewer than 16 characters"),
        ({"placeholder": "has blanks in its middle"}, "$.placeholder: expected letters"),
        ({"oauth__resource": True}, "$.oauth.resource: expected an https URL, or false"),
        ({"oauth__resource": "https://x.test/#f"}, "$.oauth.resource: expected an https URL"),
        ({"oauth__authorization_params": {"a": 1}}, "$.oauth.authorization_params.a: expected a string"),
        ({"display_name": ""}, "$.display_name: has fewer than 1 characters"),
        ({"display_name": "x" * 10_000}, "$.display_name: has more than 80 characters"),
        ({"description": "x" * 501}, "$.description: has more than 500 characters"),
    ],
)  # fmt: skip
def test_a_flaw_is_named_with_its_place(changes: dict[str, object], why: str) -> None:
    assert refusal(file(**changes)).startswith(why)


@pytest.mark.parametrize(
    "field", ["authorization_url", "token_url", "revocation_url", "issuer", "base_url", "resource"]
)
@pytest.mark.parametrize(
    "url",
    [
        "http://sample.test/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https:/sample.test",
        "https://",
        "https://user:pw@sample.test/",
        "https://sample.test\\@evil.test",
        "https://sample.test/a b",
        "https://sample.test/\n",
        "https://sample.test/#f",
        "https://\u0430pi.test/",
        "https://{site}.test/",
        "HTTPS://sample.test/",
        "https://127.1/",
    ],
)
def test_only_plain_https_urls_are_taken(field: str, url: str) -> None:  # P14, P16
    assert refusal(file(**{f"oauth__{field}": url})).startswith(f"$.oauth.{field}: expected an https URL")


@pytest.mark.parametrize("field", ["docs_url", "key_url"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://sample.test", "data:text/html,x", "https://x.test/\u202e"]
)
def test_only_https_links_are_shown(field: str, url: str) -> None:  # P16, W11
    assert refusal(file(**{field: url})).startswith(f"$.{field}: ")


def test_the_owner_may_write_a_loopback_server() -> None:  # P14
    provider = read_provider(file(oauth__token_url="http://127.0.0.1:9000/token"), "f")
    assert provider.oauth is not None
    assert provider.oauth.token_url == "http://127.0.0.1:9000/token"


@pytest.mark.parametrize(
    "field", ["display_name", "description", "oauth__authorization_params", "api_key__key_pattern_hint"]
)
@pytest.mark.parametrize(
    "evil", ["\x1b[31mred", "a\nb", "a\u202eb", "a\u2066b", "a\u200bb", "a\x00b", "\ufeffa", "a\x7f", "a\u2028b"]
)
def test_text_with_control_characters_or_overrides_is_refused(field: str, evil: str) -> None:  # P16, W11
    value: object = {"a": evil} if field.endswith("params") else evil
    assert refusal(file(**{field: value})).endswith(": holds a control or an invisible character")


def test_a_name_does_not_hide_behind_blanks() -> None:  # W11
    assert refusal(file(display_name=" GitHub")) == "$.display_name: begins or ends with a blank"


def test_markup_is_text_like_any_other() -> None:  # W11: whoever shows it escapes it
    assert read_provider(file(display_name="<script>alert(1)</script>"), "f").display_name.startswith("<script>")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1, column 1: expecting value"),
        ('{\n  "name": "x",\n}', "line 3, column 1: expecting property name"),
        ('{"name": "x"', "line 1, column 13: expecting ',' delimiter"),
        ("[]", "$: expected an object"),
        ("null", "$: expected an object"),
        ('{"name": NaN}', "NaN is not JSON"),
        ('{"name": -Infinity}', "-Infinity is not JSON"),
        ('{"name": "a", "name": "b"}', "$: the key 'name' stands there twice"),
        ('{"oauth": {"scopes": [], "scopes": []}}', "$.oauth: the key 'scopes' stands there twice"),
        ('{"a": [{}, {"b\\u202e": 1, "b\\u202e": 1}]}', "$.a[1]: the key 'b\\u202e' stands there twice"),
        ('{"schema_version": ' + "1" * 5000 + "}", "holds a number of more than 15 digits"),
        ("[" * 100_000, "line 1: nested more than 8 deep"),
        ('{"a":' * 20_000, "line 1: nested more than 8 deep"),
        ("\n" + "[" * 9 + "]" * 9, "line 2: nested more than 8 deep"),
        ("\ufeff{}", "begins with a byte order mark"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        (b'{"name": "\xff"}', "not UTF-8 (byte 11)"),
        ("{}".encode("utf-16"), "not UTF-8 (byte 1)"),
        ('{"name": "\\ud800"}', "$.name: "),
        ('{"name": "' + "x" * MAX_BYTES + '"}', "the file has more than 256 KiB"),
        (b" " * (MAX_BYTES + 1), "the file has more than 256 KiB"),
        ('"' + r"\"" * (MAX_BYTES // 2 - 2), "line 1, column 1: unterminated string"),
    ],
)
def test_what_is_not_plain_json_is_refused(text: str | bytes, why: str) -> None:
    assert refusal(text).startswith(why)


def test_brackets_inside_strings_are_not_nesting() -> None:
    assert read_provider(file(display_name='[[[[[[[[[["{{{{'), "f").display_name == '[[[[[[[[[["{{{{'


def test_the_message_never_holds_what_a_key_holds_raw() -> None:  # P16
    assert refusal(file(**{"\x1b[2J\u202e" + "x" * 500: 1})).startswith("$['\\x1b[2J\\u202exxx")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        [*members(), "oauth__scopes", "oauth__resource", "api_key", "api_key__extra_headers", "export", "export__env"]
    ),
)
def test_any_value_anywhere_is_read_or_refused_with_a_message(value: Any, path: str) -> None:
    text = json.dumps(members(**{path: value if value is not ... else None}))
    try:
        provider = read_provider(text, "f")
    except InvalidProviderFile as refused:
        assert refused.message.startswith("f: ")
        assert refused.message.isprintable()
        return
    assert read_provider(write_provider(provider), "f") == provider


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_refused_with_a_message(text: bytes | str) -> None:
    assert refusal(text)


# ── writing ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_a_valid_file_of_the_same_meaning() -> None:
    provider = read_provider(
        file(
            api_url=["a.test/v1", "*.b.test", r"regex:^x\d\.c\.test$"],
            oauth__scopes=["a", "b"],
            oauth__resource=False,
            oauth__authorization_params={"prompt": "consent"},
            api_key={"header_name": "x-key", "header_prefix": "", "extra_headers": {"X-V": "1"}, "key_pattern": "a+"},
            export={"env": {"access_token": "A_TOKEN", "api_key": "B_KEY"}},
            placeholder="sk-authsome-proxy-managed",
            display_name="D\u00e9j\u00e0 vu",
        ),
        "f",
    )
    assert read_provider(write_provider(provider), "f") == provider


def test_what_a_person_wants_to_edit_is_written_even_by_default() -> None:
    written = json.loads(write_provider(read_provider(file(), "f")))
    assert written["oauth"] == members()["oauth"] | {
        "base_url": None,
        "scopes": [],
        "pkce": True,
        "supports_device_code": False,
        "supports_dcr": False,
    }
    assert written["api_url"] == "api.sample.test"
    assert "placeholder" not in written


def test_writing_is_stable() -> None:
    text = write_provider(read_provider(file(), "f"))
    assert write_provider(read_provider(text, "f")) == text
    assert text.endswith("}\n")
