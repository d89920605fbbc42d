"""Closing a connection that has something left to send: as long as the other side reads, and no longer."""

import asyncio


def close_in_time(transport: asyncio.Transport, seconds: float) -> None:
    """Close it, and abort where in as many seconds nothing more has gone."""
    transport.close()
    left = transport.get_write_buffer_size()
    if left:
        asyncio.get_running_loop().call_later(seconds, _look, transport, left, seconds)


def _look(transport: asyncio.Transport, left: int, seconds: float) -> None:
    size = transport.get_write_buffer_size()
    if size >= left:
        transport.abort()
    elif size:
        asyncio.get_running_loop().call_later(seconds, _look, transport, size, seconds)
