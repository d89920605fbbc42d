"""`completion`: the script that teaches a shell our commands."""

from click.shell_completion import get_completion_class

from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.parse_full import COMPLETE_VARIABLE, PROGRAM, tree
from authsome.errors import UsageError


def run(given: Given, out: Output) -> int:
    """Print click's script for the shell."""
    shell = given.word("shell")
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for {shell}")
    script = kind(tree(), {}, PROGRAM, COMPLETE_VARIABLE).source()
    if out.json:
        out.result({"shell": shell, "script": script})
    else:
        out.raw(script + "\n")
    return 0
