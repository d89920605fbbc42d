"""`log`: what happened, in plain words."""

import time

from authsome.cli.client import Answer, Daemon
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.cli.times import local
from authsome.settings import read_home

_PAUSE = 0.5
_WORDS = {
    "LoggedIn": "logged in to {provider}/{connection} ({flow})",
    "LoginFailedEvent": "login to {provider}/{connection} failed: {error}",
    "ClientRegistered": "client for {provider} at {issuer}: {how}",
    "Refreshed": "refreshed {provider}/{connection}",
    "RefreshFailed": "refreshing {provider}/{connection} failed: {error}",
    "LoggedOut": "logged out of {provider}/{connection}{revoked}",
    "Exported": "handed out {provider}/{connection} in clear ({how}: {caller})",
    "Withheld": "did not hand out {provider}/{connection} in clear ({how}: {caller}): {why}{times}",
    "RunStarted": "run {run} began: {command} (process {pid})",
    "RunEnded": "run {run} ended after {requests}",
    "Injected": "run {run}: {method} {host}{path} with {provider}/{connection}, {status}{times}",
    "Denied": "run {run}: refused a request to {host}: {error}{times}",
    "ProviderChanged": "provider {provider}: {how}",
}


def run(given: Given, out: Output) -> int:
    """Print the newest events, oldest first; with `--follow` go on until interrupted."""
    daemon = Daemon(read_home())
    events = daemon.get(f"/events?limit={given.number('lines')}")["events"]
    if not given.flag("follow"):
        if out.json:
            out.result({"events": events})
        for event in () if out.json else events:
            out.line(sentence(event))
        return 0
    last = 0
    while True:
        for event in events:
            last = event["id"]
            if out.json:
                out.result(event)
            else:
                out.line(sentence(event))
        time.sleep(_PAUSE)
        events = daemon.get(f"/events?limit=500&after={last}")["events"]


def sentence(event: Answer) -> str:
    """An event in one line; one of a kind we do not know is shown with its fields."""
    fields = {name: value for name, value in event.items() if name not in ("id", "at", "kind")}
    if "revoked" in fields:
        fields["revoked"] = ", revoked at the provider" if fields["revoked"] else ""
    if "times" in fields:
        fields["times"] = f" ({fields['times']} times)" if fields["times"] != 1 else ""
    if "requests" in fields:
        fields["requests"] = f"{fields['requests']} request{'' if fields['requests'] == 1 else 's'}"
    if "status" in fields:
        fields["status"] = f"answered {fields['status']}" if fields["status"] else "not answered"
    if fields.get("error") == "host_not_allowed":
        fields["error"] = f"host_not_allowed (see run --allow-host {fields.get('host')})"
    words = _WORDS.get(event["kind"])
    try:
        text = words.format(**fields) if words else None
    except KeyError:
        text = None
    if text is None:
        text = " ".join([event["kind"], *(f"{name}={value}" for name, value in fields.items())])
    return f"{local(event['at'])}  {text}"
