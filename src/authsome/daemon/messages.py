"""What the daemon and its workers tell each other, as JSON that is made and read by hand.

Secrets travel in these messages and in nothing else between processes.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, assert_never

from authsome.broker.offer import Offer
from authsome.errors import AuthsomeError
from authsome.model.event import Denied, Event, Injected
from authsome.model.injection import Placement
from authsome.model.route import Route
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.proxy.rules.table import Lendable
from authsome.settings import Settings

# ── the daemon to a worker ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Configure:
    """The first message: what the proxy has to know of the settings; none of the rest is told."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class Adopt:
    """One more interception authority."""

    certificate_pem: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Table:
    """The route table of this moment, and all that can be lent without asking; both replace what was told before.

    They are told in one message: a key must not go by the routes of another login.
    """

    lendables: tuple[Lendable, ...]
    offers: dict[tuple[str, str], Offer]


@dataclass(frozen=True, slots=True)
class Begin:
    """A run is live."""

    run: Run


@dataclass(frozen=True, slots=True)
class End:
    """A run is over: its connections are cut, and `Ended` is the answer."""

    run: str


@dataclass(frozen=True, slots=True)
class Serve:
    """Everything was told: connections can be accepted."""


@dataclass(frozen=True, slots=True)
class Sync:
    """Answer `Synced` once all before this is done."""

    number: int


@dataclass(frozen=True, slots=True)
class Lent:
    """The credential that `Lend` asked for."""

    number: int
    value: Secret


@dataclass(frozen=True, slots=True)
class NotLent:
    """Why there is none."""

    number: int
    error: AuthsomeError


@dataclass(frozen=True, slots=True)
class Stop:
    """Close everything and end."""


# ── a worker to the daemon ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Up:
    """The worker has made its memory private, and can be told secrets."""


@dataclass(frozen=True, slots=True)
class Lend:
    """A credential is needed; another one, where `refused` is what the API answered 401 to."""

    number: int
    provider: str
    connection: str
    refused: Secret | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """Events, oldest first."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run is over here, after so many requests; its events were told before."""

    run: str
    requests: int


@dataclass(frozen=True, slots=True)
class Synced:
    """The answer to `Sync`."""

    number: int


ToWorker = Configure | Adopt | Table | Begin | End | Serve | Sync | Lent | NotLent | Stop
ToDaemon = Up | Lend | Happened | Ended | Synced
Message = ToWorker | ToDaemon

_SETTINGS = (
    "home", "host", "port", "proxy_port", "ca_files", "resolve", "upstream_proxy", "upstream_proxy_setting", "no_proxy",
)  # fmt: skip
_EVENTS: dict[str, type[Event]] = {"injected": Injected, "denied": Denied}
_EVENT_NAMES = {kind: name for name, kind in _EVENTS.items()}


class Garbage(Exception):
    """Not a message of ours. Nothing of it is shown: it may hold a secret."""


def encode(message: Message) -> bytes:
    """What `decode` reads."""
    return json.dumps(_written(message)).encode()


def decode(text: bytes | bytearray) -> Message:
    """Raises Garbage."""
    try:
        return _read(json.loads(text))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise Garbage from None


def _written(message: Message) -> list[Any]:
    match message:
        case Configure(settings):
            return ["configure", {name: getattr(settings, name) for name in _SETTINGS}]
        case Adopt(certificate_pem, key):
            return ["adopt", certificate_pem, key.reveal()]
        case Table(lendables, offers):
            told = [[*key, *_offer_written(offer)] for key, offer in offers.items()]
            return ["table", list(map(_lendable_written, lendables)), told]
        case Begin(run):
            return ["begin", _run_written(run)]
        case End(run_id):
            return ["end", run_id]
        case Serve():
            return ["serve"]
        case Sync(number):
            return ["sync", number]
        case Lent(number, value):
            return ["lent", number, value.reveal()]
        case NotLent(number, error):
            return ["not_lent", number, error.to_json(), error.http_status]
        case Stop():
            return ["stop"]
        case Up():
            return ["up"]
        case Lend(number, provider, connection, refused):
            return ["lend", number, provider, connection, _revealed(refused)]
        case Happened(events):
            return ["happened", [[_EVENT_NAMES[type(event)], *_values(event)] for event in events]]
        case Ended(run_id, requests):
            return ["ended", run_id, requests]
        case Synced(number):
            return ["synced", number]
        case _:
            assert_never(message)


def _read(found: object) -> Message:
    match found:
        case ["configure", dict() as settings] if settings.keys() == set(_SETTINGS):
            return Configure(_settings(settings))
        case ["adopt", str() as certificate_pem, str() as key]:
            return Adopt(certificate_pem, Secret(key))
        case ["table", list() as lendables, list() as offers]:
            found = {(provider, name): _offer(*offer) for provider, name, *offer in offers}
            return Table(tuple(map(_lendable, lendables)), found)
        case ["begin", dict() as run]:
            return Begin(_run(run))
        case ["end", str() as run_id]:
            return End(run_id)
        case ["serve"]:
            return Serve()
        case ["sync", int() as number]:
            return Sync(number)
        case ["lent", int() as number, str() as value]:
            return Lent(number, Secret(value))
        case ["not_lent", int() as number, dict() as error, int() as http_status]:
            return NotLent(number, AuthsomeError.from_json(error, http_status))
        case ["stop"]:
            return Stop()
        case ["up"]:
            return Up()
        case ["lend", int() as number, str() as provider, str() as connection, (str() | None) as refused]:
            return Lend(number, provider, connection, _secret(refused))
        case ["happened", list() as events]:
            return Happened(tuple(_event(*event) for event in events))
        case ["ended", str() as run_id, int() as requests]:
            return Ended(run_id, requests)
        case ["synced", int() as number]:
            return Synced(number)
        case _:
            raise Garbage


def _settings(found: dict[str, Any]) -> Settings:
    return Settings(**found | {name: tuple(found[name]) for name in ("ca_files", "no_proxy")})


def _lendable_written(lendable: Lendable) -> dict[str, Any]:
    placement = Placement(lendable.injections, lendable.credential_headers, lendable.scrub)
    return {
        "provider": lendable.provider,
        "connection": lendable.connection,
        "is_default": lendable.is_default,
        "usable": lendable.usable,
        "routes": [[route.host, route.port, route.path] for route in lendable.routes],
        "placement": placement.to_json(),
        "placeholder": lendable.placeholder,
        "login_url": lendable.login_url,
        "token_url": lendable.token_url,
        "since": lendable.since,
    }


def _lendable(found: dict[str, Any]) -> Lendable:
    members = dict(found)
    placement = Placement.from_json(members.pop("placement"))
    return Lendable(
        **members | {"routes": tuple(Route(host, port, path) for host, port, path in found["routes"])},
        injections=placement.injections,
        credential_headers=placement.credential_headers,
        scrub=placement.scrub,
    )


def _offer_written(offer: Offer) -> tuple[str | None, float | None, float | None]:
    return _revealed(offer.value), offer.fresh_until, offer.renewable_from


def _offer(value: str | None, fresh_until: float | None, renewable_from: float | None) -> Offer:
    return Offer(_secret(value), fresh_until, renewable_from)


def _run_written(run: Run) -> dict[str, Any]:
    return {field.name: getattr(run, field.name) for field in fields(run)} | {
        "token_digest": run.token_digest.hex(),
        "only": None if run.only is None else sorted(run.only),
    }


def _run(found: dict[str, Any]) -> Run:
    only = found["only"]
    return Run(
        **found
        | {
            "token_digest": bytes.fromhex(found["token_digest"]),
            "only": None if only is None else frozenset(only),
        }
    )


def _values(event: Event) -> Iterable[object]:
    return (getattr(event, field.name) for field in fields(event))


def _event(name: str, *values: object) -> Event:
    """An event whose members are of their kinds: what is not would stand in the way of the audit for good."""
    kind = _EVENTS[name]
    members = {field.name: value for field, value in zip(fields(kind), values, strict=True)}
    if any(type(members[field.name]) is not field.type for field in fields(kind)):
        raise Garbage
    return kind(**members)  # type: ignore[arg-type]  # just checked


def _secret(value: str | None) -> Secret | None:
    return None if value is None else Secret(value)


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
