"""The script of `authsome demo`: log in, run a program, and lay what it held beside what the API received."""

import io
import json
import os
import signal
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from authsome.cli.browser import has_browser
from authsome.demo.names import API_HOST, PROVIDER, VARIABLE
from authsome.demo.stage import PERSON, DemoFailed, Stage
from authsome.errors import AuthsomeError
from authsome.model.placeholder import PLACEHOLDER

TEXT_BROWSERS = {"lynx", "links", "elinks", "w3m", "www-browser"}

AGENT = f"""\
import json, os, urllib.request

held = os.environ["{VARIABLE}"]
request = urllib.request.Request("https://{API_HOST}/whoami", headers={{"Authorization": f"Bearer {{held}}"}})
with urllib.request.urlopen(request, timeout=10) as answer:
    print("I hold", held, "and the API knows me as", json.load(answer)["name"])
"""
# Not shown: it hands the demo everything that the agent could have read of its environment.
WITNESS = 'json.dump(dict(os.environ), open("environment.json", "w"))\n'


def main() -> int:
    """Plays the demo on stdout. 0 if everything that it claims was verified, else 1 and what failed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without our signs still gets the words
    printer = Printer(sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    signal.signal(signal.SIGTERM, _end)
    try:
        with Stage() as stage:
            try:
                _play(stage, printer)
            except DemoFailed:
                printer.trouble(stage.daemon_log())
                raise
    except AuthsomeError as failure:
        printer.failure(failure.message)
        return 1
    except KeyboardInterrupt:
        print()
        printer.failure("interrupted; nothing was left behind")
        return 130
    printer.close()
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    """A terminated demo takes its stage down, too."""
    sys.exit(128 + number)


def _play(stage: Stage, printer: "Printer") -> None:
    printer.open(stage)
    _log_in(stage, printer)
    _run_agent(stage, printer)
    _compare(stage, printer)
    printer.step("Look around")
    for command in (["list", "--connected"], ["get", PROVIDER, "--field", "status"]):
        said = _command(stage, printer, command)
    _require(said.strip() == "connected", f"the status of the connection is {said.strip()!r}, not 'connected'")


def _log_in(stage: Stage, printer: "Printer") -> None:
    printer.step("Log in once")
    if _person_has_browser() and printer.ask("Give consent yourself, in your browser?"):
        printer.command("login", PROVIDER)
        status = stage.authsome("login", PROVIDER, quiet=False).status
        _require(status == 0, f"authsome login ended with {status}")
        return
    printer.note("The demo itself presses the buttons that you would press in the browser:")
    printer.note("authsome's page (register a client), then the provider's page (Allow).")
    _command(stage, printer, ["login", PROVIDER], browser=PERSON)


def _run_agent(stage: Stage, printer: "Printer") -> None:
    printer.step("Run any program; this one knows nothing of authsome")
    (stage.work / "agent.py").write_text(AGENT + WITNESS)
    printer.command_line("cat agent.py")
    printer.lines(*AGENT.rstrip().splitlines())
    said = _command(stage, printer, ["run", "--", sys.executable, "agent.py"], shown="authsome run -- python agent.py")
    (stage.work / "output.txt").write_text(said)


def _compare(stage: Stage, printer: "Printer") -> None:
    printer.step("The two sides")
    environment = json.loads((stage.work / "environment.json").read_text())
    requests = [request for request in stage.ask(ask="received")["requests"] if request["path"] == "/whoami"]
    _require(len(requests) == 1, f"the API received {len(requests)} requests instead of one")
    held, received = environment[VARIABLE], requests[0]["authorization"]
    printer.beside(
        ("what the agent held", f"{VARIABLE}={held}"), ("what the API received", f"Authorization: {received}")
    )
    _require(held == PLACEHOLDER, f"the agent held something else than {PLACEHOLDER}")
    _require(requests[0]["issued_here"], "the API received something else than a token of the authorization server")
    _require(requests[0]["status"] == 200, f"the API answered with HTTP {requests[0]['status']}")
    printer.verified("the API received the very token that the provider had issued")
    for directory, whose in (
        (stage.work, "the agent's environment, output and files"),
        (stage.home, "authsome's home"),
    ):
        search = stage.ask(ask="search", directory=str(directory))
        _require(search["files"] > 0, f"there is nothing to search in {directory.name}")
        _require(not search["found"], f"a token stands in clear in {', '.join(search['found'])}")
        printer.verified(f"{whose}: {search['files']} files searched, no token in any of them")


def _command(
    stage: Stage, printer: "Printer", arguments: Sequence[str], *, browser: str | None = None, shown: str | None = None
) -> str:
    """Shows a command line, runs it, shows what it said. Raises DemoFailed unless it exits with 0."""
    printer.command_line(shown or " ".join(["authsome", *arguments]))
    said = stage.authsome(*arguments, browser=browser)
    printer.lines(*said.text.rstrip().splitlines())
    _require(said.status == 0, f"authsome {arguments[0]} ended with {said.status}")
    return said.text


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise DemoFailed(message)


def _person_has_browser() -> bool:
    """Whether somebody sits here who can see a browser's window."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and has_browser(os.environ, sys.platform)):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return os.path.basename(getattr(browser, "name", "")) not in TEXT_BROWSERS  # noqa: PTH119


@dataclass(slots=True)
class Printer:
    """Lays the transcript out; `colour` only where a terminal shows it."""

    colour: bool
    steps: int = 0

    def open(self, stage: Stage) -> None:
        """What stands where."""
        print(self._in("1", "authsome demo: the whole loop on this machine, with no account and no internet"))
        self.lines(
            f"a provider's authorization server at {stage.issuer}, its API at https://{API_HOST} (TLS),",
            f"and authsome with a home of its own, {stage.home}; all of it goes when the demo ends",
        )

    def step(self, title: str) -> None:
        """A numbered heading."""
        self.steps += 1
        print("\n" + self._in("1", f"{self.steps}. {title}"))

    def command_line(self, text: str) -> None:
        """A command as it would be typed."""
        print("   " + self._in("36", f"$ {text}"), flush=True)

    def command(self, *arguments: str) -> None:
        """A command line of authsome."""
        self.command_line(" ".join(["authsome", *arguments]))

    def lines(self, *texts: str) -> None:
        """Output, indented."""
        for text in texts:
            print(f"     {text}".rstrip())

    def note(self, text: str) -> None:
        """A word from the demo itself."""
        print("   " + self._in("2", text))

    def beside(self, left: tuple[str, str], right: tuple[str, str]) -> None:
        """Two columns, each a heading and below it a value."""
        width = max(map(len, left)) + 3
        for number, (here, there) in enumerate(zip(left, right, strict=True)):
            print("     " + self._in("2" if number == 0 else "1", f"{here:{width}}{there}"))
        print()

    def verified(self, text: str) -> None:
        """Something that was checked and holds."""
        print("   " + self._in("32", "✓") + f" {text}")

    def ask(self, question: str) -> bool:
        """Yes unless the person says no, or nothing at all."""
        try:
            return input(f"   {question} [Y/n] ").strip().lower() not in ("n", "no")
        except EOFError:
            print()
            return False

    def trouble(self, log: list[str]) -> None:
        """What may explain a failure, on stderr."""
        sys.stdout.flush()
        for line in ["the daemon's log ends with:", *log] if log else []:
            print(f"  {line}", file=sys.stderr)

    def failure(self, message: str) -> None:
        """What did not hold, on stderr."""
        sys.stdout.flush()
        print(f"demo failed: {message}", file=sys.stderr)

    def close(self) -> None:
        """What to do next."""
        print("\nNow with a real account; `pipx install .` puts the command on your PATH, and so does")
        print("`pip install .` in a virtual environment:")
        print("     " + self._in("36", "authsome login notion_dcr"))

    def _in(self, style: str, text: str) -> str:
        return f"\033[{style}m{text}\033[0m" if self.colour else text
