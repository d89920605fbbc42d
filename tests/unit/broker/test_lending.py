"""Lending and refreshing: one refresh in flight, stored before anyone gets it (P26, P27, O18–O25)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from authsome.errors import NeedsLogin, Unreachable, VaultError
from authsome.model.connection import Status
from authsome.model.secret import Secret
from authsome.vault.vault import Vault

from .conftest import Scene, bad_grant

Play = Callable[[Callable[[Scene], Awaitable[None]]], None]
KEY = ("example", "default")


def test_a_fresh_credential_is_lent_without_a_call(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        assert scene.broker.lender.lend_now(*KEY) == Secret("at1")
        assert await scene.broker.lender.lend(*KEY) == Secret("at1")
        assert scene.server.calls == 0

    play(scenario)


def test_thirty_callers_at_expiry_cause_one_refresh(play: Play) -> None:  # P26, O18
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.delay = 0.05
        assert scene.broker.lender.lend_now(*KEY) is None
        lent = await asyncio.gather(*(scene.broker.lender.lend(*KEY) for _ in range(30)))
        assert set(lent) == {Secret("at2")}
        assert scene.server.calls == 1

    play(scenario)


def test_a_credential_about_to_expire_is_refreshed_before_it_is_lent(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=30, lifetime=3600)
        assert await scene.broker.lender.lend(*KEY) == Secret("at2")

    play(scenario)


def test_a_short_lived_credential_is_not_refreshed_for_each_request(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=4.9, lifetime=5)
        assert scene.broker.lender.lend_now(*KEY) == Secret("at1")
        assert scene.server.calls == 0

    play(scenario)


def test_the_new_pair_is_stored_before_anyone_gets_it(play: Play) -> None:  # P26
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        assert await scene.broker.lender.lend(*KEY) == Secret("at2")
        stored = await scene.store(lambda vault: vault.connection(*KEY))
        assert stored is not None and stored.credential.refresh_token == Secret("rt2")
        assert stored.version == 2

    play(scenario)


def test_the_caller_who_asked_may_die(play: Play) -> None:  # O19
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.delay = 0.05
        caller = asyncio.create_task(scene.broker.lender.lend(*KEY))
        await scene.server.started.wait()
        caller.cancel()
        assert await scene.broker.lender.lend(*KEY) == Secret("at2")
        assert scene.server.calls == 1

    play(scenario)


def test_a_refused_grant_needs_a_login_and_keeps_the_record(play: Play) -> None:  # O23
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.failure = bad_grant()
        for _ in range(3):
            with pytest.raises(NeedsLogin) as failure:
                await scene.broker.lender.lend(*KEY)
            assert "authsome login example" in (failure.value.hint or "")
        assert scene.server.calls == 1
        (kept,) = scene.broker.lender.connections()
        assert kept.status(0) is Status.NEEDS_LOGIN and kept.credential.refresh_token == Secret("rt1")
        assert not scene.broker.lender.table().lendables[0].usable

    play(scenario)


def test_a_server_out_of_reach_costs_a_good_token_nothing(play: Play) -> None:  # O22
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=20, lifetime=3600)
        scene.server.failure = Unreachable("down")
        for _ in range(5):
            assert await scene.broker.lender.lend(*KEY) == Secret("at1")
        assert scene.server.calls == 1  # at most one try in five seconds
        assert scene.broker.resolve("example", None).status(0) is Status.CONNECTED

    play(scenario)


def test_a_server_out_of_reach_is_said_once_the_token_is_over(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.failure = Unreachable("down")
        for _ in range(3):
            with pytest.raises(Unreachable):
                await scene.broker.lender.lend(*KEY)
        assert scene.server.calls == 1

    play(scenario)


def test_a_login_during_a_refresh_wins(play: Play) -> None:  # P27
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.delay = 0.05
        caller = asyncio.create_task(scene.broker.lender.lend(*KEY))
        await scene.server.started.wait()
        await scene.connect(left=3600)
        assert await caller == Secret("at1")
        stored = await scene.store(lambda vault: vault.connection(*KEY))
        assert stored is not None and stored.credential.refresh_token == Secret("rt1")

    play(scenario)


def test_a_pair_that_cannot_be_stored_is_kept_and_stored_later(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:  # O25
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        whole = Vault.replace_connection

        def full(*_: object) -> None:
            raise VaultError("the disk is full")

        monkeypatch.setattr(Vault, "replace_connection", full)
        assert await scene.broker.lender.lend(*KEY) == Secret("at2")
        assert await scene.broker.lender.lend(*KEY) == Secret("at2")
        assert scene.server.calls == 1
        monkeypatch.setattr(Vault, "replace_connection", whole)
        await scene.broker.lender.settle(5)
        stored = await scene.store(lambda vault: vault.connection(*KEY))
        assert stored is not None and stored.credential.refresh_token == Secret("rt2")

    play(scenario)


def test_a_logout_holds_for_the_very_next_request(play: Play) -> None:  # X70
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        await scene.broker.logout("example", None)
        assert scene.broker.lender.lend_now(*KEY) is None
        assert scene.broker.lender.table().lendables == ()
        with pytest.raises(NeedsLogin):
            await scene.broker.lender.lend(*KEY)

    play(scenario)


def test_a_refused_credential_is_renewed_once_for_all_who_used_it(play: Play) -> None:  # O27
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        refused = await scene.broker.lender.lend(*KEY)
        assert scene.broker.lender.can_renew(*KEY, refused)
        new = await asyncio.gather(*(scene.broker.lender.renew(*KEY, refused) for _ in range(5)))
        assert set(new) == {Secret("at2")} and scene.server.calls == 1
        assert scene.broker.lender.can_renew(*KEY, refused)  # a late one gets what is there
        assert await scene.broker.lender.renew(*KEY, refused) == Secret("at2")
        assert scene.server.calls == 1

    play(scenario)


def test_an_api_that_refuses_everything_causes_no_storm_of_refreshes(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        refused = await scene.broker.lender.lend(*KEY)
        new = await scene.broker.lender.renew(*KEY, refused)
        assert not scene.broker.lender.can_renew(*KEY, new)
        assert scene.broker.lender.lend_now(*KEY) == new

    play(scenario)


def test_a_renewal_that_fails_leaves_the_credential_as_it_was(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect()
        refused = await scene.broker.lender.lend(*KEY)
        scene.server.failure = Unreachable("down")
        with pytest.raises(NeedsLogin):
            await scene.broker.lender.renew(*KEY, refused)
        assert scene.broker.lender.lend_now(*KEY) == refused

    play(scenario)


def test_a_refresh_never_lands_on_a_login_that_was_made_anew(play: Play) -> None:  # P27, X70
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.delay = 0.1
        caller = asyncio.create_task(scene.broker.lender.lend(*KEY))
        await scene.server.started.wait()
        await scene.store(lambda vault: vault.delete_connection(*KEY))
        scene.broker.lender.drop(KEY)
        other = await scene.connect(left=3600)  # version 1 again
        await asyncio.gather(caller, return_exceptions=True)
        stored = await scene.store(lambda vault: vault.connection(*KEY))
        assert stored is not None and stored.created_at == other.created_at
        assert stored.credential.refresh_token == Secret("rt1")

    play(scenario)


def test_what_is_offered_is_what_would_be_lent_and_each_change_is_told(play: Play) -> None:  # X70, P26
    async def scenario(scene: Scene) -> None:
        lender = scene.broker.lender
        told: list[dict[tuple[str, str], Secret | None]] = []
        lender.on_change = lambda: told.append({key: offer.fresh for key, offer in lender.offers().items()})
        await scene.connect(left=30, lifetime=3600)
        assert told[-1] == {KEY: None} and lender.lend_now(*KEY) is None
        await lender.lend(*KEY)
        assert told[-1] == {KEY: Secret("at2")}
        offer = lender.offers()[KEY]
        assert offer.can_replace(Secret("at2")) and offer.can_replace(Secret("at1"))

        before = len(told)
        await lender.renew(*KEY, Secret("at2"))
        assert {KEY: None} in told[before:]  # nobody else uses the refused one meanwhile
        assert told[-1] == {KEY: Secret("at3")}
        assert not lender.offers()[KEY].can_replace(Secret("at3"))

        scene.server.failure = Unreachable("gone")
        lender.on_change()
        await lender.renew(*KEY, Secret("at2"))
        with pytest.raises(NeedsLogin):
            await lender.renew(*KEY, Secret("at3"))
        assert told[-1] == {KEY: Secret("at3")}  # as it was

        lender.drop(KEY)
        assert told[-1] == {}

    play(scenario)


def test_a_connection_that_needs_a_login_is_not_offered(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.connect(left=-1)
        scene.server.failure = bad_grant()
        with pytest.raises(NeedsLogin):
            await scene.broker.lender.lend(*KEY)
        assert scene.broker.lender.offers() == {}

    play(scenario)
