"""The interception authority's keys: out of the vault into `Trust`, made and renewed where needed (X76)."""

import time
from collections.abc import Callable

from authsome.broker.store import Store
from authsome.model.secret import Secret
from authsome.proxy.engine.trust import Trust, new_authority

Tell = Callable[[str, Secret], None]

LIFE = 31 * 86400.0  # an authority is valid for less


async def open_trust(store: Store, tell: Tell) -> Trust:
    """The authorities that the vault keeps, with a valid one among them. `tell` is told of each."""
    kept = await store(lambda vault: vault.authority_keys())
    for old in [each for each in kept if each.created_at + LIFE < time.time()]:
        await store(lambda vault, old=old: vault.drop_authority(old.id))  # type: ignore[misc]
    trust = Trust(((each.certificate_pem, each.private_key) for each in kept), time.time)
    for each in kept:
        tell(each.certificate_pem, each.private_key)
    await renew(trust, store, tell)
    return trust


async def renew(trust: Trust, store: Store, tell: Tell) -> None:
    """A successor in good time, so that a run's bundle never ends before its run does."""
    if trust.is_due:
        now = time.time()
        certificate_pem, key = new_authority(now)
        await store(lambda vault: vault.add_authority(certificate_pem, key, now))
        trust.adopt(certificate_pem, key)
        tell(certificate_pem, key)
