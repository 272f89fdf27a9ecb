"""Makes `stackless.aio.EventLoop` the loop that asyncio makes, for tests that others wrote.

A plugin for pytest as well: `-p replaced_loop`.
"""

import asyncio

from stackless import aio


class Loop(aio.EventLoop):
    """For tests that give the loop a selector: they bring the standard ones."""

    def __init__(self, selector=None):
        super().__init__()
        if selector is not None:
            selector.close()


def replace_loops():
    asyncio.SelectorEventLoop = asyncio.unix_events.SelectorEventLoop = Loop
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = asyncio.unix_events.EventLoop = Loop
    for policy in vars(asyncio.unix_events).values():
        if getattr(policy, "_loop_factory", None) is not None:
            policy._loop_factory = Loop


def pytest_configure(config):
    replace_loops()
