"""Dynamic client registration, then authorization code with PKCE: how MCP servers log in."""

from authsome.flows.authorization import authorize, with_offline_access
from authsome.flows.discovery import discover
from authsome.flows.steps import Dialogue, Outcome, Wish


class DcrPkce:
    """RFC 9728 → RFC 8414 → RFC 7591 → RFC 6749 with RFC 7636, RFC 8707 and RFC 9207."""

    name = "dcr_pkce"

    def login(self, wish: Wish, now: float) -> Dialogue[Outcome]:
        """See `flows.table.Flow`."""
        oauth = wish.provider.oauth
        assert oauth is not None
        server = yield from discover(wish)
        scopes = wish.scopes if wish.scopes is not None else oauth.scopes or server.scopes or ()
        return (yield from authorize(wish, server, with_offline_access(scopes, server), now))
