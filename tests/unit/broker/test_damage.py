"""A row that cannot be opened is named, hides no other, and can be healed or removed."""

import sqlite3
from collections.abc import Awaitable, Callable

from authsome.model.secret import Secret

from .conftest import Scene

Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


async def damage(scene: Scene) -> None:
    """Flip a byte of one sealed token behind the vault's back, and read everything anew."""
    path = scene.store.vault.path
    with sqlite3.connect(path) as db:
        (sealed,) = db.execute("SELECT access_token FROM connections WHERE name = 'work'").fetchone()
        broken = sealed[:-1] + bytes([sealed[-1] ^ 1])
        db.execute("UPDATE connections SET access_token = ? WHERE name = 'work'", (broken,))
    db.close()
    await scene.broker.lender.load()


def test_a_damaged_connection_is_named_and_hides_no_other(play: Play) -> None:  # V08
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        await damage(scene)
        assert [c.name for c in scene.broker.lender.connections()] == ["personal"]
        assert list(scene.broker.lender.damaged) == [("example", "work")]
        assert "work" in scene.broker.lender.damaged[("example", "work")]

    play(scenario)


def test_a_damaged_connection_can_be_logged_out(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        await damage(scene)
        farewell = await scene.broker.logout("example", "work")
        assert farewell.revoked is False and "could not be read" in farewell.detail
        assert scene.broker.lender.damaged == {}
        assert not (await scene.store(lambda vault: vault.connections())).problems

    play(scenario)


def test_a_new_login_heals_a_damaged_connection(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect("personal")
        await scene.connect("work")
        await damage(scene)
        scene.broker.check_free("example", "work", force=False)
        await scene.connect("work")
        assert scene.broker.lender.lend_now("example", "work") == Secret("at1")
        assert scene.broker.lender.damaged == {}

    play(scenario)
