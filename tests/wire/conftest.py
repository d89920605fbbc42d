"""A world with the proxy in it, on each event loop that it runs on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wire_world import Options, World


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """The name of an event loop."""
    name = str(request.param)
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@pytest.fixture
def world(loop: str, tmp_path: Path) -> Iterator[World]:
    """The usual world."""
    with World(tmp_path, Options(loop=loop)) as world:
        yield world


@pytest.fixture
def make_world(loop: str, tmp_path: Path) -> Iterator[Callable[[Options], World]]:
    """A world with other limits or addresses."""
    with ExitStack() as stack:

        def make(options: Options) -> World:
            options.loop = loop
            return stack.enter_context(World(tmp_path, options))

        yield make
