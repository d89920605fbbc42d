"""`logout`: revoke one connection's credential at the provider, as far as it can be, and delete it here."""

from authsome.cli.client import Daemon, provider_path
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """The connection is gone afterwards in any case; whether the provider took part is said on stderr."""
    provider = given.word("provider")
    answer = Daemon(read_home()).post(
        f"/connections/{provider_path(provider)}/logout", {"connection": given.text("connection")}
    )
    if out.json:
        out.result({"provider": provider, **answer})
        return 0
    out.line(f"logged out: {provider}/{answer['connection']}")
    say_revoked(out, answer)
    left = answer.get("left") or []
    if len(left) > 1 and answer.get("default") is None:
        out.note(f"none of {', '.join(left)} is the default of {provider} now")
        out.note(f"choose one: authsome set-default {provider} NAME")
    return 0


def say_revoked(out: Output, answer: dict[str, object]) -> None:
    """Whether the provider revoked the credential: yes, no, or it offers no way to."""
    if answer["revoked"] is False:
        out.say(f"{out.paint('warning:', 'yellow', err=True)} not revoked at the provider: {answer['detail']}")
    else:
        out.note(str(answer["detail"] or ("revoked at the provider" if answer["revoked"] else "deleted here")))
