"""`Provider`: a service, as one file describes it (docs/provider.schema.json is made from this)."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from authsome.errors import UsageError
from authsome.model.authority import BadAuthority
from authsome.model.fields import (
    BASE_URL,
    KEY_IN_SEGMENT,
    BaseUrl,
    HeaderName,
    HeaderText,
    KeyPattern,
    Link,
    ParameterName,
    ParameterValue,
    PathSegment,
    ProviderName,
    RouteText,
    Scope,
    Sentence,
    ShapedPlaceholder,
    Title,
    Url,
    UrlTemplate,
    UserName,
    Variable,
    checked_base_url,
)
from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    Injection,
    PathInjection,
    Placement,
    QueryInjection,
)
from authsome.model.pattern import Pattern
from authsome.model.route import Route

AuthType: TypeAlias = Literal["oauth2", "api_key"]
FlowName: TypeAlias = Literal["dcr_pkce", "pkce", "api_key"]
AuthMethod: TypeAlias = Literal["client_secret_basic", "client_secret_post", "none"]
CredentialField: TypeAlias = Literal["access_token", "refresh_token", "api_key"]

KEY_AS_USER_NAME = "{api_key}"


def _listed(value: object) -> object:
    """A JSON list as the tuple that it is kept as."""
    return tuple(value) if isinstance(value, list) else value


def _one_or_listed(value: object) -> object:
    return (value,) if isinstance(value, str) else _listed(value)


Scopes: TypeAlias = Annotated[
    tuple[Scope, ...], BeforeValidator(_listed, json_schema_input_type=list[Scope]), Field(max_length=200)
]
Routes: TypeAlias = Annotated[
    tuple[RouteText, ...],
    BeforeValidator(_one_or_listed, json_schema_input_type=RouteText | list[RouteText]),
    Field(min_length=1, max_length=100),
]
BodyFields: TypeAlias = Annotated[
    tuple[ParameterName, ...],
    BeforeValidator(_listed, json_schema_input_type=list[ParameterName]),
    Field(max_length=8),
]
Parameters: TypeAlias = Annotated[dict[ParameterName, ParameterValue], Field(max_length=50)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OAuth(_Strict):
    """How to log in by OAuth 2. Endpoints are fallbacks for what discovery does not tell."""

    issuer: UrlTemplate | None = Field(
        default=None, description="The authorization server, if it is to be this one and no other."
    )
    authorization_url: UrlTemplate = Field(description="Where the person consents.")
    token_url: UrlTemplate = Field(description="Where codes and refresh tokens are exchanged.")
    revocation_url: UrlTemplate | None = Field(default=None, description="Where tokens are revoked (RFC 7009).")
    device_authorization_url: UrlTemplate | None = Field(
        default=None, description="Where the device flow begins (RFC 8628); carried, not used yet."
    )
    registration_endpoint: UrlTemplate | None = Field(
        default=None, description="Where clients register themselves (RFC 7591)."
    )
    base_url: BaseUrl | None = Field(
        default=None, description="What {base_url} in the URLs stands for, unless login --base-url says otherwise."
    )
    scopes: Scopes = Field(default=(), description="The scopes to ask for, unless login --scopes says otherwise.")
    scope_separator: Literal[" ", ",", ";", "+"] = Field(default=" ", description="What stands between two scopes.")
    pkce: bool = Field(default=True, description="Whether the server documents PKCE; S256 is sent in any case.")
    supports_device_code: bool = Field(default=False, description="Whether the server offers the device flow.")
    supports_dcr: bool = Field(default=False, description="Whether clients can register themselves.")
    token_auth_method: AuthMethod | None = Field(
        default=None, description="How a client proves itself at token_url, where the server does not say."
    )
    token_request_format: Literal["form", "json"] = Field(default="form", description="The body that token_url takes.")
    authorization_params: Parameters = Field(
        default={}, description="More parameters of the authorization request; those that authsome sets win."
    )
    token_params: Parameters = Field(default={}, description="More parameters of the token request; ours win here too.")
    resource: Url | Literal[False] | None = Field(
        default=None,
        description="The MCP server's URL: discovery begins there (RFC 9728); false sends no resource parameter.",
    )

    @field_validator("resource", mode="before")
    @classmethod
    def _resource(cls, value: object) -> object:
        if value is not None and value is not False and not isinstance(value, str):
            raise ValueError("expected an https URL, or false")
        return value

    @model_validator(mode="after")
    def _scopes_apart(self) -> Self:
        for scope in self.scopes:
            if self.scope_separator in scope:
                raise ValueError(f"the scope {scope!r} holds the scope_separator: list the scopes one by one")
        return self


class ApiKey(_Strict):
    """How a key goes on a request, and what it looks like."""

    header_name: HeaderName = Field(default="Authorization", description="The header that holds the key.")
    header_prefix: HeaderText = Field(
        default="Bearer", description="What stands before the key; a blank follows by itself."
    )
    query_param: ParameterName | None = Field(
        default=None, description="The query parameter that holds the key, in place of a header."
    )
    username: UserName | None = Field(
        default=None,
        description='The user name of Basic authentication, with the key as password; "{api_key}" where the key is it.',
    )
    extra_headers: dict[HeaderName, HeaderText] = Field(
        default={}, max_length=20, description="Headers without a secret that the API wants beside the key."
    )
    path_segment: PathSegment | None = Field(
        default=None,
        description="The segment of the path that holds the key, in place of a header: bot{api_key}.",
    )
    env_var: Variable | None = Field(default=None, description="The variable of the key, where export.env names none.")
    key_pattern: KeyPattern | None = Field(
        default=None,
        description="What a key looks like: literals, classes, groups, | and repeats; always the whole key.",
    )
    key_pattern_hint: Sentence | None = Field(
        default=None, description="What to tell a person whose key does not match."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(each is not None for each in (self.query_param, self.username, self.path_segment)) > 1:
            raise ValueError("query_param, username and path_segment exclude each other")
        names = [self.header_name, *self.extra_headers]
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("extra_headers names a header twice")
        return self

    def accepts(self, key: str) -> bool:
        """Whether a key has the declared form, in time linear in its length (P17)."""
        return self.key_pattern is None or Pattern.parse(self.key_pattern).matches(key)


class Export(_Strict):
    """Under which variables a credential is exported; a refresh token never is."""

    env: dict[CredentialField, Variable] = Field(
        default={}, description="The variable for each field of the credential."
    )


class Provider(_Strict):
    """A service: how to log in, where its credential may go, how it is put on a request."""

    schema_version: Literal[1] = Field(default=1, description="The version of this format.")
    name: ProviderName = Field(description="The name to log in by; the file is called <name>.json.")
    display_name: Title = Field(description="The name that people are shown.")
    description: Sentence | None = Field(default=None, description="One sentence on what this is for.")
    auth_type: AuthType = Field(description="What kind of credential the default flow leads to.")
    flow: FlowName = Field(description="The login that is used unless login --flow says otherwise.")
    api_url: Routes = Field(
        description="Where the credential may go, one or a list: host, host/path, *.host for one label, regex:^…$."
    )
    oauth: OAuth | None = Field(default=None, description="How to log in by OAuth 2.")
    api_key: ApiKey | None = Field(default=None, description="How an API key is put on a request.")
    export: Export = Field(default_factory=Export, description="The variables that hold the credential.")
    body_fields: BodyFields = Field(
        default=(),
        description="Members of JSON bodies and fields of forms where a placeholder is replaced, up to 1 MiB.",
    )
    scrub: bool = Field(default=True, description="Whether answers are searched for the credential; it is covered.")
    docs_url: Link | None = Field(default=None, description="The vendor's page on authentication.")
    key_url: Link | None = Field(default=None, description="The vendor's page where a key or a client is made.")
    placeholder: ShapedPlaceholder | None = Field(
        default=None,
        description="What a program under run holds instead, where the vendor's tool checks the form of a key.",
    )

    @field_validator("schema_version", mode="before")
    @classmethod
    def _version(cls, value: object) -> object:
        return value if type(value) is int else None  # true and 1.0 equal 1, but are not it

    @model_validator(mode="after")
    def _whole(self) -> Self:
        is_key = self.flow == "api_key"
        if is_key != (self.auth_type == "api_key"):
            raise ValueError(f"the flow {self.flow} does not lead to auth_type {self.auth_type}")
        if self.auth_type == "oauth2" and self.oauth is None:
            raise ValueError("auth_type oauth2 needs the member 'oauth'")
        if is_key and self.api_key is None:
            raise ValueError("auth_type api_key needs the member 'api_key'")
        return self

    def routes(self, base_url: str | None = None) -> tuple[Route, ...]:
        """Where its credential may go, with `{base_url}` filled in. Raises UsageError."""
        try:
            return tuple(Route.parse(self.fill(text, base_url)) for text in self.api_url)
        except BadAuthority as error:
            raise UsageError(f"{self.name}: base_url: {error}") from None

    def fill(self, text: str, base_url: str | None = None) -> str:
        """`{base_url}` replaced by the one given, else by the file's own. Raises UsageError where that is none."""
        if BASE_URL not in text:
            return text
        base = base_url or (self.oauth.base_url if self.oauth else None)
        if base is None:
            raise UsageError(f"{self.name} needs a base URL", "pass --base-url https://your.host")
        try:
            return text.replace(BASE_URL, checked_base_url(base), 1)
        except ValueError as error:
            raise UsageError(f"{self.name}: base_url: {error}") from None

    def placement(self, *, api_key: bool) -> Placement:
        """How a key, or else an access token, is put on a request."""
        headers = (self.api_key.header_name,) if self.api_key else ()
        inside = tuple(BodyInjection(field) for field in self.body_fields)
        return Placement(self._injections(api_key=api_key) + inside, headers, self.scrub)

    def _injections(self, *, api_key: bool) -> tuple[Injection, ...]:
        if not api_key or self.api_key is None:
            return (HeaderInjection("Authorization", "Bearer"),)
        how = self.api_key
        main: Injection = HeaderInjection(how.header_name, how.header_prefix)
        if how.query_param is not None:
            main = QueryInjection(how.query_param)
        elif how.path_segment is not None:
            main = PathInjection(how.path_segment.removesuffix(KEY_IN_SEGMENT))
        elif how.username == KEY_AS_USER_NAME:
            main = BasicInjection("username", "")
        elif how.username is not None:
            main = BasicInjection("password", how.username)
        return (main, *(FixedHeader(name, value) for name, value in how.extra_headers.items()))

    def variables(self, *, api_key: bool) -> tuple[str, ...]:
        """The variables that hold its credential for a program; never one for the refresh token."""
        name = self.export.env.get("api_key" if api_key else "access_token")
        if name is None and api_key and self.api_key is not None:
            name = self.api_key.env_var
        return () if name is None else (name,)
