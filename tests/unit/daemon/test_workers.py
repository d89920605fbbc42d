"""What the daemon and its workers tell each other, and what a worker makes of it."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsome.broker.offer import Offer
from authsome.daemon import channel as channel_module
from authsome.daemon.channel import Channel
from authsome.daemon.messages import (
    Adopt,
    Begin,
    Configure,
    End,
    Ended,
    Garbage,
    Happened,
    Lend,
    Lent,
    Message,
    NotLent,
    Serve,
    Stop,
    Sync,
    Synced,
    Table,
    Up,
    decode,
    encode,
)
from authsome.daemon.worker import BATCH, RemoteHouse
from authsome.errors import AuthsomeError, NeedsLogin
from authsome.model.event import Denied, Injected
from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    PathInjection,
    QueryInjection,
)
from authsome.model.route import Route
from authsome.model.run import Run
from authsome.model.secret import Secret
from authsome.proxy.rules.table import Lendable
from authsome.settings import Settings

SOME = "\x00é\ud800 ☃\n"
numbers = st.integers(min_value=0, max_value=2**53)
words = st.text(st.characters(), max_size=20)
secrets = words.map(Secret)
times = st.floats(allow_nan=False, allow_infinity=False)
injections = st.one_of(
    st.builds(HeaderInjection, words, words),
    st.builds(BasicInjection, st.sampled_from(["username", "password"]), words),
    st.builds(QueryInjection, words),
    st.builds(PathInjection, words),
    st.builds(BodyInjection, words),
    st.builds(FixedHeader, words, words),
)
lendables = st.builds(
    Lendable,
    provider=words,
    connection=words,
    is_default=st.booleans(),
    usable=st.booleans(),
    routes=st.lists(st.builds(Route, words, numbers, words), max_size=2).map(tuple),
    injections=st.lists(injections, max_size=2).map(tuple),
    placeholder=words,
    login_url=st.none() | words,
    credential_headers=st.lists(words, max_size=2).map(tuple),
    scrub=st.booleans(),
    token_url=st.none() | words,
)
runs = st.builds(
    Run,
    id=words,
    token_digest=st.binary(max_size=32),
    pid=numbers,
    process_started=numbers,
    command=words,
    only=st.none() | st.frozensets(words, max_size=2),
    choices=st.dictionaries(words, words, max_size=2),
    scrub=st.booleans(),
    started_at=times,
    ended_at=st.none() | times,
)
events = st.builds(Denied, at=times, run=words, host=words, error=words, times=numbers) | st.builds(
    Injected,
    at=times,
    run=words,
    provider=words,
    connection=words,
    method=words,
    host=words,
    path=words,
    status=numbers,
    times=numbers,
)
messages = st.one_of(
    st.builds(Adopt, words, secrets),
    st.builds(
        Table,
        st.lists(lendables, max_size=2).map(tuple),
        st.dictionaries(
            st.tuples(words, words),
            st.builds(Offer, st.none() | secrets, st.none() | times, st.none() | times),
            max_size=2,
        ),
    ),
    st.builds(Begin, runs),
    st.builds(End, words),
    st.sampled_from([Up(), Serve(), Stop()]),
    st.builds(Sync, numbers),
    st.builds(Synced, numbers),
    st.builds(Lent, numbers, secrets),
    st.builds(Lend, numbers, words, words, st.none() | secrets),
    st.builds(Happened, st.lists(events, max_size=2).map(tuple)),
    st.builds(Ended, words, numbers),
)


@given(messages)
def test_a_message_arrives_as_it_was(message: Message) -> None:
    assert decode(encode(message)) == message


def test_settings_arrive_without_what_a_proxy_has_no_use_for() -> None:
    told = Settings(
        home="/home/of",
        port=1,
        proxy_port=2,
        ca_files=("a", "b"),
        resolve={"a": "127.0.0.1:1"},
        upstream_proxy="http://u:p@proxy:1",
        upstream_proxy_setting="https_proxy",
        no_proxy=("x",),
    )
    text = encode(Configure(told._replace(root_key="canary", root_key_file="/canary", reveal={"canary": "ask"})))
    assert b"canary" not in text
    assert decode(text) == Configure(told)


def test_an_error_arrives_with_all_that_a_program_is_told() -> None:
    sent = NeedsLogin("why", "what next", login_url="https://x")
    found = decode(encode(NotLent(1, sent)))
    assert isinstance(found, NotLent) and isinstance(found.error, NeedsLogin)
    assert (found.error.to_json(), found.error.http_status) == (sent.to_json(), 401)


BAD = [
    b"",
    b"{}",
    b"[]",
    b"[" * 100_000,
    b"\xff",
    b'["what"]',
    b'["up", 1]',
    b'["sync", "1"]',
    b'["lend", 1, "p"]',
    b'["lend", 1, "p", "c", 7]',
    b'["begin", {}]',
    b'["begin", {"only": null, "token_digest": "zz"}]',
    b'["table", [{}]]',
    b'["table", [1]]',
    b'["table", [], [["p", "c"]]]',
    b'["table", []]',
    b'["configure", {"home": "x"}]',
    b'["happened", [["refreshed", 1.0, "p", "c"]]]',
    b'["happened", [["denied", 1.0, "r", "h"]]]',
    b'["happened", [["denied", 1.0, "r", "h", 5]]]',
    b'["happened", [["denied", 1, "r", "h", "e"]]]',
    b'["happened", [[]]]',
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:60].decode("latin-1"))
def test_what_is_no_message_is_garbage(text: bytes) -> None:
    with pytest.raises(Garbage):
        decode(text)


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    import uvloop

    return [asyncio.new_event_loop, uvloop.new_event_loop]


Play = Callable[[Channel, socket.socket, list[Message]], Awaitable[None]]


@pytest.fixture(params=loops(), ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[[Play], None]:
    """`play(scenario)` gives it a channel, the socket at its other end, and what the channel has taken."""

    def run(scenario: Play) -> None:
        async def whole() -> None:
            ours, theirs = socket.socketpair()
            with theirs:
                theirs.setblocking(False)
                taken: list[Message] = []

                def take(message: Message) -> None:
                    if isinstance(message, Stop):
                        raise Garbage
                    if isinstance(message, Serve):
                        raise ValueError
                    taken.append(message)

                channel = Channel(take)
                await channel.open(ours)
                try:
                    async with asyncio.timeout(5):
                        await scenario(channel, theirs, taken)
                finally:
                    channel.abort()
                    await channel.ended

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(whole())

    return run


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def test_messages_are_cut_out_of_the_bytes(play: Callable[[Play], None]) -> None:
    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        sent = [Sync(1), Lent(2, Secret(SOME)), Up()]
        text = b"".join(framed(encode(message)) for message in sent)
        for at in range(0, len(text), 7):
            await asyncio.get_running_loop().sock_sendall(other, text[at : at + 7])
            await asyncio.sleep(0.001)
        while len(taken) < 3:
            await asyncio.sleep(0.001)
        assert taken == sent
        channel.send(sent[1])
        assert other.recv(1000) == framed(encode(sent[1]))

    play(scenario)


@pytest.mark.parametrize(
    "text",
    [framed(b"what"), b"\xff\xff\xff\xff", framed(b'["stop"]'), framed(b'["serve"]')],
    ids=["garbage", "too long", "out of place", "not foreseen"],
)
def test_garbage_ends_the_channel(play: Callable[[Play], None], text: bytes) -> None:
    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        await asyncio.get_running_loop().sock_sendall(other, text + framed(b'["up"]'))
        await channel.ended
        assert taken == []
        channel.send(Up())  # to nobody

    play(scenario)


def test_a_message_that_is_too_long_is_not_sent(play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "LONGEST", 100)

    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        channel.send(Lent(1, Secret("x" * 100)))
        await channel.ended
        assert other.recv(100) == b""

    play(scenario)


def test_the_end_of_the_other_side_is_the_end(play: Callable[[Play], None]) -> None:
    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        other.close()
        await channel.ended

    play(scenario)


# ── a worker's view ────────────────────────────────────────────────────────────────────────────


def test_an_offer_is_lent_while_it_is_fresh_and_replaced_where_it_can_be() -> None:
    now = time.monotonic()
    key, other = Secret("key"), Secret("other")
    assert Offer(key).fresh == key
    assert Offer(key, fresh_until=now + 60).fresh == key
    assert Offer(key, fresh_until=now - 1).fresh is None
    assert not Offer(key).can_replace(key)
    assert Offer(key).can_replace(other)
    assert not Offer(None).can_replace(other)
    assert Offer(key, renewable_from=now - 1).can_replace(key)
    assert not Offer(key, renewable_from=now + 60).can_replace(key)


def test_a_house_answers_from_what_it_was_told_and_asks_for_the_rest(play: Callable[[Play], None]) -> None:
    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        house = RemoteHouse()
        house.channel = channel
        assert house.lend_now("p", "c") is None and not house.can_renew("p", "c", Secret("x"))
        house.offers = {("p", "c"): Offer(Secret("x"), renewable_from=0.0)}
        assert house.lend_now("p", "c") == Secret("x") and house.can_renew("p", "c", Secret("x"))

        asked = [asyncio.create_task(house.lend("p", "c")), asyncio.create_task(house.renew("p", "c", Secret("x")))]
        gone = asyncio.create_task(house.lend("p", "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        house.answer(0, Secret("y"))
        house.answer(1, NeedsLogin("no"))
        house.answer(2, Secret("too late"))
        house.answer(99, Secret("never asked"))
        assert await asked[0] == Secret("y")
        with pytest.raises(NeedsLogin):
            await asked[1]
        sent = other.recv(10_000)
        assert sent == b"".join(
            framed(encode(each)) for each in (Lend(0, "p", "c"), Lend(1, "p", "c", Secret("x")), Lend(2, "p", "gone"))
        )

    play(scenario)


def test_a_house_knows_a_run_until_its_end() -> None:
    house = RemoteHouse()
    run = Run(id="r", token_digest=b"d", pid=1, process_started=1, command="x")
    house.begin(run)
    house.begin(replace(run, id="s", token_digest=b"e"))
    assert house.run_of(b"d") == run
    house.end("r")
    assert house.run_of(b"d") is None and house.run_of(b"e") is not None


def test_events_are_told_in_batches(play: Callable[[Play], None]) -> None:
    async def scenario(channel: Channel, other: socket.socket, taken: list[Message]) -> None:
        house = RemoteHouse()
        house.channel = channel
        recorded = [Denied(at=float(n), run="r", host=f"h{n}", error="e") for n in range(BATCH + 1)]
        for event in recorded:
            house.record(event)
        want = framed(encode(Happened(tuple(recorded[:BATCH])))) + framed(encode(Happened((recorded[-1],))))
        found = b""
        while len(found) < len(want):
            found += await asyncio.get_running_loop().sock_recv(other, 65536)
        assert found == want

    play(scenario)


def test_a_worker_imports_no_more_than_the_proxy_needs() -> None:
    heavy = {"fastapi", "sqlalchemy", "pydantic", "httpx2", "uvicorn", "alembic", "jinja2", "authlib"}
    script = "import sys, authsome.daemon.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(found.split())


def test_unknown_errors_are_told_too() -> None:
    found = decode(encode(NotLent(1, AuthsomeError("what"))))
    assert isinstance(found, NotLent) and found.error.message == "what"
