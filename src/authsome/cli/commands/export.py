"""`export`: fresh credentials as variables, in the form a shell or a file wants; never a refresh token."""

from authsome.cli.approval import patiently
from authsome.cli.client import Answer, Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.quoting import write
from authsome.errors import UsageError
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Print the variables of one provider, or of all that are connected."""
    provider, connection = given.text("provider"), given.text("connection")
    if connection is not None and provider is None:
        raise UsageError("--connection needs a provider", "for example: authsome export notion_dcr --connection work")
    daemon = Daemon(read_home())
    wanted: dict[str, object] = {"provider": provider, "connection": connection}

    def ask(approval: str | None) -> Answer:
        return daemon.post("/exports", wanted if approval is None else {**wanted, "approval": approval})

    answer = patiently(ask, out)
    variables = {str(v["name"]): str(v["value"]) for v in answer["variables"]}
    for skipped in answer["skipped"]:
        name = "/".join(part for part in (skipped["provider"], skipped["connection"]) if part)
        out.note(f"skipped {name}: {skipped['reason']}")
    if out.json:
        out.result({"variables": variables, "skipped": answer["skipped"]})
        return 0
    if not variables:
        out.note("there is nothing to export")
    out.raw(write(variables, str(given.text("format"))))
    return 0
