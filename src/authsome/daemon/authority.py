"""The interception authority's keys: out of the vault into `Trust`, made and renewed where needed (X76)."""

import time

from authsome.broker.store import Store
from authsome.proxy.engine.trust import Trust, new_authority

LIFE = 31 * 86400.0  # an authority is valid for less


async def open_trust(store: Store) -> Trust:
    """The authorities that the vault keeps, with a valid one among them."""
    kept = await store(lambda vault: vault.authority_keys())
    for old in [each for each in kept if each.created_at + LIFE < time.time()]:
        await store(lambda vault, old=old: vault.drop_authority(old.id))  # type: ignore[misc]
    trust = Trust(((each.certificate_pem, each.private_key) for each in kept), time.time)
    await renew(trust, store)
    return trust


async def renew(trust: Trust, store: Store) -> None:
    """A successor in good time, so that a run's bundle never ends before its run does."""
    if trust.is_due:
        now = time.time()
        certificate_pem, key = new_authority(now)
        await store(lambda vault: vault.add_authority(certificate_pem, key, now))
        trust.adopt(certificate_pem, key)
