"""The parser for everything: click's commands, made from the table when they are needed."""

import difflib
from typing import Any

import click

from authsome import __version__
from authsome.cli.given import Given
from authsome.cli.table import COMMANDS, EVERYWHERE, FLAG, GROUPS, MANY, NUMBER, Argument, Command, Option, find
from authsome.errors import UsageError

PROGRAM = "authsome"
COMPLETE_VARIABLE = "_AUTHSOME_COMPLETE"
_DIGITS = 6
_SETTINGS = {"help_option_names": ["-h", "--help"]}


def parse_full(words: list[str]) -> Given | int:
    """What the words say, or the exit status where the answer was given here (help, version, completion).

    Raises UsageError.
    """
    try:
        answer = tree().main(words, PROGRAM, COMPLETE_VARIABLE, standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else PROGRAM
        raise UsageError(_told(error), f"see: {where} --help") from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit as end:  # how click ends a completion
        return int(end.code or 0)
    return answer if isinstance(answer, Given) else int(answer or 0)


class Tree(click.Group):
    """A group whose commands are made from the table by their full names."""

    def __init__(self, prefix: str, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # click's own keyword list
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The next words after this prefix, in the table's order."""
        names = [c.name.removeprefix(self._prefix) for c in COMMANDS if c.name.startswith(self._prefix)]
        return list(dict.fromkeys(name.split(" ")[0] for name in names))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command or group of that word."""
        full = self._prefix + cmd_name
        if full in GROUPS:
            return _group(full)
        entry = find(full)
        return None if entry is None else command_of(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest command where there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. Did you mean {near[0]!r}?", ctx) from None


class Leaf(click.Command):
    """One command, which its mistakes name: click leaves that out where an option has no value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class _Number(click.ParamType[int]):
    """A whole number that is not negative, of as many digits as the fast parser reads."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that a text spells."""
        if isinstance(value, int):
            return value  # the default
        if not str(value).isdecimal():
            self.fail(f"expected a number, got {value!r}", param, ctx)
        if len(str(value)) > _DIGITS:
            self.fail(f"expected a number of at most {_DIGITS} digits", param, ctx)
        return int(value)


def tree() -> click.Group:
    """The whole command line."""
    return Tree(
        "",
        name=PROGRAM,
        help="Lends credentials to programs without giving them away.",
        epilog=f"\b\nExample:\n  {PROGRAM} login notion_dcr\n  {PROGRAM} run -- python my_agent.py",
        params=[*(_option(option) for option in EVERYWHERE), _version()],
        callback=click.pass_context(lambda ctx, **values: _remember(ctx, values)),
        context_settings=_SETTINGS,
        no_args_is_help=False,
        invoke_without_command=True,
    )


def _group(name: str) -> click.Group:
    return Tree(
        name + " ",
        name=name,
        help=GROUPS[name],
        epilog=f"\b\nExample:\n  {_first_example(name)}",
        params=[_option(option) for option in EVERYWHERE],
        callback=click.pass_context(lambda ctx, **values: _remember(ctx, values)),
        context_settings=_SETTINGS,
        no_args_is_help=False,
        invoke_without_command=True,
    )


def _first_example(group: str) -> str:
    return next(command.example for command in COMMANDS if command.name.startswith(group + " "))


def _remember(ctx: click.Context, values: dict[str, object]) -> int:
    """Keep the options that stand before the command; without a command show the help."""
    ctx.obj = {**(ctx.obj or {}), **{name: True for name, value in values.items() if value}}
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def command_of(entry: Command) -> click.Command:
    """One command; calling it returns what was given."""

    def give(ctx: click.Context, /, **values: object) -> Given:
        for option in EVERYWHERE:
            values[option.name] = bool(values[option.name] or (ctx.obj or {}).get(option.name))
        return Given(entry, {**entry.defaults(), **values, **entry.presets})

    settings = dict(_SETTINGS, **({"allow_interspersed_args": False} if entry.rest else {}))
    parameters: list[click.Parameter] = [_argument(argument) for argument in entry.arguments]
    parameters += [_option(option) for option in entry.options]
    return Leaf(
        entry.name.split(" ")[-1],
        help=entry.help,
        epilog=f"\b\nExample:\n  {entry.example}",
        params=parameters,
        callback=click.pass_context(give),
        context_settings=settings,
    )


def _argument(argument: Argument) -> click.Argument:
    kind = click.Choice(argument.choices) if argument.choices else click.UNPROCESSED
    complete = _complete_provider if argument.name == "provider" else None
    return click.Argument(
        [argument.name],
        type=kind,
        required=argument.required,
        nargs=-1 if argument.many else 1,
        shell_complete=complete,
    )


def _option(option: Option) -> click.Option:
    names = [*option.flags, option.name]
    if option.kind == FLAG:
        return click.Option(names, is_flag=True, default=False, help=option.help)
    kind: click.ParamType[Any] = click.STRING
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.kind == NUMBER:
        kind = _Number()
    return click.Option(
        names,
        type=kind,
        multiple=option.kind == MANY,
        default=option.default if option.kind != MANY else None,
        metavar=None if option.choices else option.metavar,
        help=option.help,
        show_default=option.default is not None and option.kind != MANY,
    )


def _version() -> click.Option:
    def show(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(f"{PROGRAM} {__version__}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version."
    )


def _complete_provider(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from authsome.cli.client import Daemon
    from authsome.errors import AuthsomeError
    from authsome.settings import read_home

    try:
        known = Daemon(read_home(), start=False).get("/providers", seconds=2.0)["providers"]
    except AuthsomeError:
        return []
    return [str(p["name"]) for p in known if str(p["name"]).startswith(incomplete)]


def _told(error: click.UsageError) -> str:
    """What is wrong. A word too many may be a secret, so it is not shown (P23)."""
    message = error.format_message()
    if message.startswith("Got unexpected extra argument"):
        where = error.ctx.command_path if error.ctx else PROGRAM
        entry = find(where.removeprefix(f"{PROGRAM} "))
        if entry is not None and any(option.name == "stdin" for option in entry.options):
            return "there is a word too many; a secret is never an argument, it is typed in or comes by --stdin"
        return f"there is a word too many after {where!r}"
    return _sentence(message)


def _sentence(message: str) -> str:
    """Click's message in our manner: lower case, no full stop."""
    return (message[:1].lower() + message[1:]).rstrip(".") if message else "the command line is not complete"
