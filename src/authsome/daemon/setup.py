"""What each process of the daemon does to itself before anything else. It imports little: a worker pays for it too."""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable

from authsome.daemon.log_lines import log_to_stderr

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def set_up_process() -> None:
    """Private files, private memory, many descriptors, a log."""
    os.umask(0o077)
    _keep_memory_private()
    _allow_many_connections()
    log_to_stderr()


def end_with_parent() -> None:
    """Be killed when the thread that started this process ends (Linux)."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's loop where it is there."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _keep_memory_private() -> None:
    """No core file, and no reading of our memory by other processes of the user (P23, V27). Best effort."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _allow_many_connections() -> None:
    """As many descriptors as the system lets us have: each run's connections are two (V23)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
