"""A key that the person pastes: the shortest dialogue."""

from authsome.flows.steps import AskKey, Dialogue, Key, Outcome, Wish, ask
from authsome.model.connection import Credential
from authsome.model.provider import ApiKey
from authsome.model.secret import Secret

SHORTEST = 8  # anything shorter could not be told from ordinary text in an answer (X63)
LONGEST = 16 * 1024


class ApiKeyFlow:
    """Asks until the key has the form that its provider declares."""

    name = "api_key"

    def login(self, wish: Wish, now: float) -> Dialogue[Outcome]:
        """See `flows.table.Flow`."""
        how = wish.provider.api_key
        assert how is not None
        problem: str | None = None
        while True:
            entered = (yield from ask(AskKey(problem), Key)).value
            key = Secret(entered.reveal().strip())
            problem = problem_of(key, how)
            if problem is None:
                return Outcome(credential=Credential(api_key=key, obtained_at=now))


def problem_of(key: Secret, how: ApiKey) -> str | None:
    """What is wrong with a key, in words that do not show it; None where nothing is."""
    value = key.reveal()
    if not SHORTEST <= len(value) <= LONGEST:
        return f"a key has {SHORTEST} to {LONGEST} characters"
    if not all("!" <= c <= "~" for c in value):
        return "a key has no blanks, line ends or characters outside ASCII"
    if not how.accepts(value):
        return how.key_pattern_hint or f"the key does not have the expected form {how.key_pattern}"
    return None
