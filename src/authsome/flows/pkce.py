"""Authorization code with PKCE for a client that the person brings (RFC 6749 §4.1, RFC 7636)."""

from authsome.flows.authorization import authorize
from authsome.flows.discovery import discover, from_file
from authsome.flows.steps import Dialogue, Outcome, Wish


class Pkce:
    """The client comes from the local form. Endpoints come from the file, or from its issuer where it names one."""

    name = "pkce"

    def login(self, wish: Wish, now: float) -> Dialogue[Outcome]:
        """See `flows.table.Flow`."""
        oauth = wish.provider.oauth
        assert oauth is not None
        server = (yield from discover(wish)) if oauth.issuer or oauth.resource else from_file(wish)
        return (yield from authorize(wish, server, wish.scopes if wish.scopes is not None else oauth.scopes, now))
