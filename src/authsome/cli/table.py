"""The command line as data: every command with its arguments, options, help and example.

Both parsers, the help texts and the completion are made from `COMMANDS`; a new command is one row
here and one file in `commands/`. Plain classes, because this is read on every start.
"""

from authsome.settings import MOST_WORKERS

FLAG, TEXT, MANY, NUMBER = "flag", "text", "many", "number"


class Option:
    """`flags` as they are typed. The value is a bool, text or None, a tuple of texts, a number or None, by `kind`."""

    __slots__ = ("choices", "default", "flags", "help", "kind", "metavar", "name")

    def __init__(
        self, flags: str, help: str, kind: str = FLAG, *, metavar: str = "", choices: tuple[str, ...] = (),
        default: str | int | None = None,
    ) -> None:  # fmt: skip
        self.flags = tuple(flags.split())
        self.name = self.flags[-1].lstrip("-").replace("-", "_")
        self.help = help
        self.kind = kind
        self.metavar = metavar or self.name.upper()
        self.choices = choices
        self.default: object = {FLAG: False, MANY: ()}.get(kind, default)


class Argument:
    """A word by its place; `many` takes the rest of the line."""

    __slots__ = ("choices", "many", "name", "required")

    def __init__(self, name: str, *, required: bool = True, many: bool = False, choices: tuple[str, ...] = ()) -> None:
        self.name = name
        self.required = required
        self.many = many
        self.choices = choices


class Command:
    """`words` are its spellings, `presets` what a spelling fixes, `rest` that a foreign command line follows."""

    __slots__ = ("arguments", "example", "help", "module", "name", "options", "presets", "rest")

    def __init__(
        self, name: str, module: str, help: str, example: str, *parameters: Option | Argument, rest: bool = False,
        presets: dict[str, object] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.module = module
        self.help = help
        self.example = example
        self.arguments = tuple(p for p in parameters if isinstance(p, Argument))
        self.options = (*(p for p in parameters if isinstance(p, Option)), *EVERYWHERE)
        self.rest = rest
        self.presets = presets or {}

    def defaults(self) -> dict[str, object]:
        """The value of everything that may be left out."""
        values: dict[str, object] = {argument.name: () if argument.many else None for argument in self.arguments}
        values.update((option.name, option.default) for option in self.options)
        values.update(self.presets)
        return values

    def spelled(self, name: str, **presets: object) -> "Command":
        """The same command under another name."""
        return Command(
            name, self.module, self.help, self.example.replace(f"authsome {self.name}", f"authsome {name}"),
            *self.arguments, *(o for o in self.options if o not in EVERYWHERE), rest=self.rest, presets=presets,
        )  # fmt: skip


EVERYWHERE = (
    Option("--json", 'Print one JSON object with "v": 1.'),
    Option("--quiet", "Print errors and data only."),
    Option("--no-color", "Print no colours (NO_COLOR does the same)."),
)
_PROVIDER = Argument("provider")
_CONNECTION = Option("--connection", "The connection; without it the provider's default.", TEXT, metavar="NAME")
_FORMATS = ("env", "shell", "dotenv", "json", "fish", "powershell")
_SHELLS = ("bash", "zsh", "fish")

_LIST = Command(
    "list", "list", "Show the providers and your connections.", "authsome list --connected",
    Option("--connected", "Only providers with a connection."),
    Option("--filter", "Only providers whose name contains TEXT.", TEXT, metavar="TEXT"),
)  # fmt: skip
_GET = Command(
    "get", "get", "Show a connection, its secrets as ***.", "authsome get notion_dcr --field status",
    _PROVIDER, _CONNECTION,
    Option("--field", "Print this field alone.", TEXT),
    Option("--show-secret", "Print the field's value even if it is a secret."),
)  # fmt: skip
_INSPECT = Command(
    "inspect", "inspect", "Print a provider's definition, itself a valid provider file.",
    "authsome inspect notion_dcr > ~/.authsome/providers/notion_dcr.json",
    _PROVIDER,
)  # fmt: skip
_REVOKE = Command(
    "revoke", "revoke", "Revoke a provider's connections and its client.",
    "authsome revoke notion_dcr",
    _PROVIDER,
)  # fmt: skip
_REMOVE = Command(
    "remove", "remove", "Remove your own definition of a provider.",
    "authsome remove notion_dcr",
    _PROVIDER,
)  # fmt: skip
_REGISTER = Command(
    "register", "register", "Check a provider file and install it.", "authsome register ./acme.json",
    Argument("file"),
    Option("--force", "Replace a provider of that name."),
    Option("--yes", "Do not ask for confirmation."),
)  # fmt: skip
_SET_DEFAULT = Command(
    "set-default", "set_default", "Make a connection its provider's default.",
    "authsome set-default notion_dcr work",
    _PROVIDER, Argument("connection"),
)  # fmt: skip
_WORKERS = Option("--workers", f"How many processes serve the runs, 1 to {MOST_WORKERS}.", NUMBER, metavar="N")
_LINES = Option("-n --lines", "How many of the newest.", NUMBER, metavar="N", default=50)
_FOLLOW = Option("-f --follow", "Go on with what comes.")

COMMANDS = (
    Command(
        "login", "login", "Log in to a provider and wait until that is done; an API key is stored and not tried.",
        "authsome login notion_dcr --connection work",
        _PROVIDER,
        Option("--connection", "The connection's name; without it 'default'.", TEXT, metavar="NAME"),
        Option("--flow", "The flow to use instead of the provider's own.", TEXT),
        Option("--scopes", "The scopes to ask for, with commas between them.", TEXT, metavar="A,B"),
        Option("--base-url", "The address of a self-hosted provider.", TEXT, metavar="URL"),
        Option("--force", "Replace a connection of that name."),
        Option("--no-browser", "Print the address to open elsewhere, and read back where it led."),
        Option("--no-wait", "Print the address and return at once."),
        Option("--stdin", "Read an API key from standard input."),
    ),
    _LIST,
    _GET,
    _INSPECT,
    Command(
        "export", "export", "Print fresh credentials as variables for a shell.",
        'eval "$(authsome export notion_dcr --format env)"',
        Argument("provider", required=False), _CONNECTION,
        Option("--format", "How to print them.", TEXT, choices=_FORMATS, default="env"),
    ),
    Command(
        "run", "run", "Run a command that uses your credentials and holds none.",
        "authsome run -- python my_agent.py",
        Argument("command", many=True),
        Option(
            "--connection", "The connection to use for a provider; without it the default.", MANY,
            metavar="PROVIDER=NAME",
        ),
        Option("--only", "Lend the credentials of these providers alone.", TEXT, metavar="A,B"),
        Option("--env-file", "Read variables for the command from a file.", MANY, metavar="FILE"),
        Option("--no-scrub", "Leave credentials in what servers answer."),
        Option(
            "--isolate",
            "Confine the command: it reads no private places, writes to its own directory, and reaches the network "
            "through the proxy alone.",
        ),
        Option("--allow-read", "With --isolate: show it a private place.", MANY, metavar="PATH"),
        Option("--allow-write", "With --isolate: let it write there too, or use that socket.", MANY, metavar="PATH"),
        Option("--allow-host", "With --isolate: let it reach this host too, or *.domain.", MANY, metavar="HOST"),
        Option(
            "--trust-file", "With --isolate: show the run's CA certificates in place of this PEM file's.", MANY,
            metavar="FILE",
        ),
        rest=True,
    ),
    Command(
        "logout", "logout", "Revoke a connection's credential and delete it.",
        "authsome logout notion_dcr --connection work",
        _PROVIDER, _CONNECTION,
    ),
    _REVOKE,
    _REMOVE,
    _REGISTER,
    _SET_DEFAULT,
    Command("approve", "approve", "Answer what waits for your approval.", "authsome approve"),
    Command("whoami", "whoami", "Show whose vault this is and where it lies.", "authsome whoami"),
    Command("doctor", "doctor", "Check that everything is in order.", "authsome doctor"),
    Command("log", "log", "Show what happened, newest last.", "authsome log -n 20", _LINES, _FOLLOW),
    Command(
        "demo", "demo", "Show the whole loop on this machine, with no account.", "authsome demo",
    ),
    Command(
        "completion", "completion", "Print the completion script of a shell.",
        'eval "$(authsome completion bash)"',
        Argument("shell", choices=_SHELLS),
    ),
    Command("daemon serve", "daemon_serve", "Serve in the foreground.", "authsome daemon serve"),
    Command(
        "daemon start", "daemon_start", "Start the daemon if it is not running.", "authsome daemon start", _WORKERS,
    ),
    Command("daemon stop", "daemon_stop", "Stop the daemon.", "authsome daemon stop"),
    Command(
        "daemon restart", "daemon_restart", "Stop the daemon and start it again.", "authsome daemon restart", _WORKERS,
    ),
    Command("daemon status", "daemon_status", "Tell whether the daemon runs.", "authsome daemon status"),
    Command("daemon logs", "daemon_logs", "Show the daemon's log file.", "authsome daemon logs -f", _LINES, _FOLLOW),
    _LIST.spelled("provider list"),
    _INSPECT.spelled("provider inspect"),
    _REGISTER.spelled("provider register"),
    _REMOVE.spelled("provider remove"),
    _REVOKE.spelled("provider revoke"),
    _LIST.spelled("connections list", connected=True),
    _GET.spelled("connections inspect"),
    _SET_DEFAULT.spelled("connections set-default"),
)  # fmt: skip

GROUPS = {
    "daemon": "Start, stop and watch the daemon.",
    "provider": "Providers: list, inspect, register, remove, revoke.",
    "connections": "Connections: list, inspect, set-default.",
}


def find(name: str) -> Command | None:
    """The command of that full name."""
    for command in COMMANDS:
        if command.name == name:
            return command
    return None
