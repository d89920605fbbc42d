"""The flows by name: a new one is a file and a line here."""

from typing import Protocol

from authsome.flows.api_key import ApiKeyFlow
from authsome.flows.dcr_pkce import DcrPkce
from authsome.flows.pkce import Pkce
from authsome.flows.steps import Dialogue, Outcome, Wish


class Flow(Protocol):
    """One kind of login."""

    name: str

    def login(self, wish: Wish, now: float) -> Dialogue[Outcome]:
        """The dialogue from the wish to a credential; `now` is epoch seconds.

        Raises LoginFailed, LoginCancelled, Unreachable.
        """
        ...


FLOWS: dict[str, Flow] = {flow.name: flow for flow in (DcrPkce(), Pkce(), ApiKeyFlow())}
