"""`get`: a connection's metadata, or one field of it as a bare value."""

from authsome.cli.approval import patiently
from authsome.cli.client import Answer, Daemon, provider_path, quote
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.errors import UsageError
from authsome.settings import read_home

_TIMES = ("expires_at", "obtained_at", "created_at", "updated_at")


def run(given: Given, out: Output) -> int:
    """Print the field alone, or everything as `name: value` lines."""
    field = given.text("field")
    show_secret = given.flag("show_secret")
    if show_secret and field is None:
        raise UsageError(
            "--show-secret needs --field", "for example: authsome get notion_dcr --field access_token --show-secret"
        )
    provider = given.word("provider")
    path = f"/connections/{provider_path(provider)}"
    connection = given.text("connection")
    query = [] if connection is None else [f"connection={quote(connection)}"]
    daemon = Daemon(read_home())
    if field is None:
        answer = daemon.get("?".join([path, *query]))
        _show(answer, out)
        return 0
    if show_secret:
        query.append("show_secret=1")
    path += f"/fields/{quote(field)}"

    def ask(approval: str | None) -> Answer:
        asked = query if approval is None else [*query, f"approval={quote(approval)}"]
        return daemon.get("?".join([path, *(["&".join(asked)] if asked else [])]))

    answer = patiently(ask, out)
    if out.json:
        out.result({"provider": provider, "field": field, "value": answer["value"]})
    else:
        out.value(answer["value"])
    return 0


def _show(answer: Answer, out: Output) -> None:
    if out.json:
        out.result(answer)
        return
    fields = answer.pop("fields", None) or {}
    for name, value in {**answer, **{n: v for n, v in fields.items() if n not in answer}}.items():
        out.line(f"{name}: {_plain(name, value)}")


def _plain(name: str, value: object) -> str:
    if name in _TIMES and isinstance(value, (int, float)):
        from authsome.cli.times import local

        return local(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
