"""HTTP/2 from the client to the server: what gRPC needs, and everything that HTTP/1.1 is promised too."""

import pytest
from http2_wire import Exchanged, Peer, Server, chosen, client, open_http2
from wire_world import World, get


def test_a_client_that_offers_only_http2_gets_it_and_the_credential(world: World) -> None:  # X01
    server = Server(world)
    answer = client(world).get(("authorization", "Bearer authsome-proxy-managed"), path="/x?a=1")
    assert (answer.status, answer.body) == (200, b"hello")
    asked = server.asked[0]
    assert asked.all(b"authorization") == [b"Bearer " + world.secret.encode()]
    assert (asked.one(b":authority"), asked.one(b":path")) == (b"api.mock.test", b"/x?a=1")


@pytest.mark.parametrize("offered", [("h2", "http/1.1"), ("http/1.1", "h2"), ("http/1.1",)])
def test_a_client_that_speaks_both_gets_the_fast_path(world: World, offered: tuple[str, ...]) -> None:
    wire = open_http2(world, protocols=offered)
    assert chosen(wire) == "http/1.1"
    assert wire.ask(get("/")).status == 200


def test_both_directions_stream_and_trailers_arrive(world: World) -> None:  # gRPC
    def echo(peer: Peer, stream: Exchanged, event: object) -> None:
        if type(event).__name__ == "RequestReceived":
            peer.head(stream.number, 200, ("content-type", "application/grpc"))
        elif type(event).__name__ == "DataReceived":
            peer.send(stream.number, stream.parts[-1])
        elif type(event).__name__ == "StreamEnded":
            peer.trailers(stream.number, ("grpc-status", "0"), ("grpc-message", "fine"))

    server = Server(world)
    server.early = echo
    peer = client(world)
    number = peer.ask(("te", "trailers"), ("content-type", "application/grpc"), method="POST", path="/e.E/S", end=False)
    for count in range(1, 4):
        peer.send(number, b"message %d" % count)
        peer.until(lambda count=count: len(peer.streams[number].parts) == count)
    peer.send(number, b"", end=True)
    answer = peer.answer(number)
    assert answer.parts == [b"message 1", b"message 2", b"message 3"]
    assert answer.trailers == [(b"grpc-status", b"0"), (b"grpc-message", b"fine")]
    assert server.asked[0].one(b"te") == b"trailers"
