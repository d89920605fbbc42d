"""A resolver that changes its answer: the address that was checked is the one that is dialled (P1, P14)."""

import asyncio

import pytest
from corporate import Resolver
from parts.pki import Authority
from wire_world import Message, Upstream, Wire, World, bundle_of, eventually, get

from authsome.broker.fetch import Fetcher
from authsome.errors import LoginFailed
from authsome.flows.steps import Fetch, Fetched
from authsome.model.placeholder import PLACEHOLDER

BEARER = f"Authorization: Bearer {PLACEHOLDER}"
PUBLIC, OTHER, INSIDE = "203.0.113.7", "203.0.113.8", "127.0.0.1"


def enter(world: World, *answers: list[str], host: str = "api.mock.test", gone: tuple[str, ...] = ()) -> Resolver:
    """Every address leads to the world's server, loopback too, but for those that are `gone`."""
    world.options.resolve.clear()
    leads = {address: world.upstream.address for address in (PUBLIC, OTHER, INSIDE) if address not in gone}
    resolver = Resolver({host: list(answers)}, leads)
    world.call(resolver.enter, world.loop)
    return resolver


def test_an_answer_that_changes_is_checked_for_each_connection(world: World) -> None:  # X24
    def once(wire: Wire, _: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        wire.close()

    world.upstream.handler = once
    resolver = enter(world, [PUBLIC], [INSIDE])
    wire = world.open()
    assert wire.ask(get("/", BEARER)).status == 200
    assert resolver.asked == ["api.mock.test"]  # not once to check and again to dial
    assert resolver.dialled == [f"{PUBLIC}:443"]
    answer = wire.ask(get("/", BEARER))
    assert (answer.status, answer.one("x-authsome-error")) == (403, "destination_refused")
    assert resolver.asked == ["api.mock.test"] * 2
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert len(world.upstream.requests) == 1


@pytest.mark.parametrize("answer", [[PUBLIC, INSIDE], [INSIDE, PUBLIC]])
def test_of_two_addresses_only_the_public_one_is_dialled(world: World, answer: list[str]) -> None:  # X24
    resolver = enter(world, answer)
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.asked == ["api.mock.test"]
    assert resolver.dialled == [f"{PUBLIC}:443"]


def test_where_the_public_address_fails_the_one_inside_is_not_tried(world: World) -> None:  # X24
    resolver = enter(world, [PUBLIC, INSIDE], gone=(PUBLIC,))
    assert world.open().ask(get("/", BEARER)).status == 502
    assert set(resolver.dialled) == {f"{PUBLIC}:443"}
    assert len(resolver.dialled) == len(resolver.asked)
    assert not world.upstream.connections


def test_the_next_public_address_is_dialled_without_another_question(world: World) -> None:  # X24
    resolver = enter(world, [PUBLIC, OTHER], [INSIDE], gone=(PUBLIC,))
    assert world.open().ask(get("/", BEARER)).status == 200
    assert resolver.asked == ["api.mock.test"]
    assert resolver.dialled == [f"{PUBLIC}:443", f"{OTHER}:443"]


def test_a_tunnel_is_not_led_to_authsome_by_a_second_answer(world: World) -> None:  # X24 X66
    host = "evil.mock.test"
    resolver = enter(world, [PUBLIC], [INSIDE], [PUBLIC, INSIDE], host=host)
    assert world.connect(f"{host}:{world.port}")[1].status == 200
    assert world.connect(f"{host}:{world.port}")[1].status == 403
    assert world.connect(f"{host}:{world.port}")[1].status == 200
    assert resolver.asked == [host] * 3
    assert resolver.dialled == [f"{PUBLIC}:{world.port}"] * 2
    assert eventually(lambda: world.upstream.connections == 2)


@pytest.fixture
def login() -> Authority:
    return Authority("Upstream CA")


def fetch_twice(pki: Authority, resolver: Resolver) -> tuple[Fetched | LoginFailed, Fetched | LoginFailed]:
    """Two calls on a server's word."""

    async def one(fetcher: Fetcher) -> Fetched | LoginFailed:
        try:
            return await fetcher(Fetch(url="https://login.mock.test/token"))
        except LoginFailed as error:
            return error

    async def both() -> tuple[Fetched | LoginFailed, Fetched | LoginFailed]:
        resolver.enter(asyncio.get_running_loop())
        return await one(fetcher), await one(fetcher)

    with bundle_of(pki.pem) as bundle:
        fetcher = Fetcher((str(bundle),), {})
        return asyncio.run(both())


def test_a_call_dials_the_address_that_was_checked(login: Authority) -> None:  # X24 P14
    server = Upstream(login.leaf("login.mock.test").context())
    resolver = Resolver({"login.mock.test": [[PUBLIC], [INSIDE]]}, {PUBLIC: server.address, INSIDE: server.address})
    first, second = fetch_twice(login, resolver)
    assert isinstance(first, Fetched)
    assert isinstance(second, LoginFailed)
    assert "not called on a server's word" in second.message
    assert resolver.asked == ["login.mock.test"] * 2
    assert resolver.dialled == [f"{PUBLIC}:443"]
    assert len(server.requests) == 1
    server.close()


def test_a_call_is_refused_whole_where_one_of_two_addresses_lies_inside(login: Authority) -> None:  # X24 P14
    server = Upstream(login.leaf("login.mock.test").context())
    resolver = Resolver(
        {"login.mock.test": [[PUBLIC, INSIDE], [INSIDE, PUBLIC]]}, {PUBLIC: server.address, INSIDE: server.address}
    )
    assert all(isinstance(answer, LoginFailed) for answer in fetch_twice(login, resolver))
    assert resolver.asked == ["login.mock.test"] * 2
    assert not resolver.dialled
    assert not server.connections
    server.close()
