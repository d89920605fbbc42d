"""The interception authority's keys: out of the vault into `Trust`, made and renewed where needed (X76)."""

import time

from authsome.broker.store import Store
from authsome.proxy.engine.trust import Trust, new_authority


async def open_trust(store: Store) -> Trust:
    """The authorities that the vault keeps, with a valid one among them."""
    kept = await store(lambda vault: vault.authority_keys())
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
