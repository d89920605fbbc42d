"""The verbs on connections: several of one provider, export, logout, revoke (contract §1)."""

from collections.abc import Awaitable, Callable

import pytest

from authsome.errors import (
    ConnectionChoiceNeeded,
    ConnectionExists,
    ConnectionNotFound,
    CredentialMissing,
    ProviderNotFound,
)
from authsome.model.injection import HeaderInjection
from authsome.model.secret import Secret

from .conftest import AS, REDIRECT, Scene

Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


def test_the_first_connection_becomes_the_default(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        assert scene.broker.resolve("example", None).name == "personal"
        assert scene.broker.resolve("example", "work").name == "work"
        await scene.broker.set_default("example", "work")
        assert scene.broker.resolve("example", None).name == "work"

    play(scenario)


def test_the_last_one_left_is_the_default(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        await scene.broker.logout("example", "personal")
        assert scene.broker.resolve("example", None).name == "work"

    play(scenario)


def test_several_without_a_default_are_refused_with_their_names(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("a", "b", "c"):
            await scene.connect(name)
        await scene.broker.logout("example", "a")
        with pytest.raises(ConnectionChoiceNeeded, match="b, c") as failure:
            scene.broker.resolve("example", None)
        assert "set-default" in (failure.value.hint or "")

    play(scenario)


def test_what_is_not_there_is_said_as_what_it_is(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        with pytest.raises(ProviderNotFound):
            scene.broker.resolve("no_such", None)
        with pytest.raises(ConnectionNotFound, match="example"):
            scene.broker.resolve("example", None)
        await scene.connect("work")
        with pytest.raises(ConnectionNotFound, match="personal"):
            scene.broker.resolve("example", "personal")

    play(scenario)


def test_a_working_connection_is_not_replaced_by_accident(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        with pytest.raises(ConnectionExists):
            scene.broker.check_free("example", "default", force=False)
        scene.broker.check_free("example", "default", force=True)
        scene.broker.check_free("example", "work", force=False)

    play(scenario)


def test_export_hands_out_a_fresh_access_token_and_never_a_refresh_token(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        (variable,) = await scene.broker.export("example", None, "a test")
        assert (variable.name, variable.value) == ("EXAMPLE_TOKEN", Secret("at2"))

    play(scenario)


def test_a_provider_without_a_variable_cannot_be_exported(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        connection = await scene.connect()
        entry = scene.broker.catalog.get("example")
        text = entry.provider.model_copy(update={"export": type(entry.provider.export)()}).model_dump_json(
            exclude_defaults=True
        )
        scene.broker.catalog.install(text, force=True)
        with pytest.raises(CredentialMissing, match=r"variable"):
            await scene.broker.export(connection.provider, None, "a test")

    play(scenario)


def test_logout_revokes_the_refresh_token_first(play: Play) -> None:  # RFC 7009
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        farewell = await scene.broker.logout("example", None)
        assert farewell.revoked is True
        assert scene.server.revoked == ["rt1", "at1"]
        assert await scene.store(lambda vault: vault.connections()) == []

    play(scenario)


def test_logout_deletes_even_where_the_provider_is_down(play: Play) -> None:  # O33
    async def scenario(scene: Scene) -> None:
        connection = await scene.connect()
        await scene.store(lambda vault: vault.delete_client(AS, REDIRECT))
        farewell = await scene.broker.logout(connection.provider, None)
        assert farewell.revoked is False
        assert await scene.store(lambda vault: vault.connections()) == []

    play(scenario)


def test_revoke_ends_every_connection_and_gives_the_client_up(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        farewells, deleted, _ = await scene.broker.revoke("example")
        assert [f.connection for f in farewells] == ["personal", "work"]
        assert deleted
        assert await scene.broker.find_client(AS, REDIRECT) is None

    play(scenario)


def test_a_login_in_place_of_another_counted_as_the_same(play: Play) -> None:  # P18
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        (before,) = scene.broker.lender.table().lendables
        await scene.connect()
        (after,) = scene.broker.lender.table().lendables
        assert not after.is_as_before(before)

    play(scenario)


def test_routes_are_pinned_at_login(play: Play) -> None:  # P18
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        entry = scene.broker.catalog.get("example")
        moved = entry.provider.model_copy(update={"api_url": ("evil.example",)}).model_dump_json(exclude_defaults=True)
        scene.broker.catalog.install(moved, force=True)
        scene.broker.lender.rebuild()
        (lendable,) = scene.broker.lender.table().lendables
        assert [str(route) for route in lendable.routes] == ["mcp.example.com"]
        assert lendable.injections

    play(scenario)


def test_how_a_credential_is_put_on_requests_is_pinned_at_login(play: Play) -> None:  # P18
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        entry = scene.broker.catalog.get("example")
        changes = {"body_fields": ("text",), "scrub": False}
        moved = entry.provider.model_copy(update=changes).model_dump_json(exclude_defaults=True)
        scene.broker.catalog.install(moved, force=True)
        scene.broker.lender.rebuild()
        await scene.broker.reload("example")  # as at a start, from the store
        (lendable,) = scene.broker.lender.table().lendables
        assert lendable.injections == (HeaderInjection("Authorization", "Bearer"),)
        assert lendable.scrub

    play(scenario)


def test_no_secret_shows_in_a_connection(play: Play) -> None:  # P23
    async def scenario(scene: Scene) -> None:
        connection = await scene.connect()
        assert "at1" not in repr(connection) and "rt1" not in repr(connection)
        assert Secret("at1") == connection.credential.access_token

    play(scenario)
