"""The plugin for pytest: tests in tasklets, leaked tasklets, fixtures.

With the mark `stackless`, or `stackless = true` in the settings, a test function runs in a tasklet,
which its thread's main tasklet waits for. A deadlock fails the test at once, with the explanation
(unless another thread of the process could still act). Tasklets that the test leaves behind,
daemons excepted, fail it with their stacks, and are killed. What it has set of its scheduler
(callbacks, error handler, switch_trap) is as before. So each test finds a fresh scheduler, with the
tasklets of its fixtures.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stackless.testing import virtual_time as _VirtualTime

__all__ = [
    "explore",
    "pytest_addoption",
    "pytest_configure",
    "pytest_pyfunc_call",
    "virtual_time",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `stackless`."""
    parser.addini("stackless", "run each test function in a tasklet", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Add the mark `stackless`."""
    config.addinivalue_line("markers", "stackless: run the test function in a tasklet")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Let a marked test function run in a tasklet."""
    wanted = pyfuncitem.get_closest_marker("stackless") or pyfuncitem.config.getini("stackless")
    if not wanted:
        return (yield)
    function = pyfuncitem.obj
    pyfuncitem.obj = _in_tasklet(function)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = function


def _in_tasklet(function: Callable[..., object]) -> Callable[..., None]:
    """A function that calls this one in a tasklet, and looks for tasklets that it has left."""
    from stackless import _stackless

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        before = {tasklet.number for tasklet in _stackless._unended(True)}
        tasklet = _stackless.tasklet(function).setup(**arguments)
        tasklet.name = function.__name__
        settings = _settings()
        try:
            tasklet.join()
        finally:
            _restore(*settings)
            left = [each for each in _stackless._unended(True) if each.number not in before]
            stacks = _stacks(left)
            for each in left:
                each.kill()
        if left:
            pytest.fail(f"the test has left tasklets that have not ended:\n{stacks}", pytrace=False)

    return run


def _settings() -> tuple[Any, Any, Any, int]:
    """What a test may set of its thread's scheduler."""
    import stackless

    handler = stackless.set_error_handler(None)
    stackless.set_error_handler(handler)
    callbacks = stackless.get_schedule_callback(), stackless.get_channel_callback()
    return *callbacks, handler, stackless.switch_trap(0)


def _restore(on_schedule: Any, on_channel: Any, handler: Any, traps: int) -> None:
    import stackless

    stackless.switch_trap(traps - stackless.switch_trap(0))
    stackless.set_schedule_callback(on_schedule)
    stackless.set_channel_callback(on_channel)
    stackless.set_error_handler(handler)


def _stacks(tasklets: list[Any]) -> str:
    """What these tasklets do, as text."""
    import stackless

    if not tasklets:
        return ""
    numbers = {tasklet.number for tasklet in tasklets}
    out = io.StringIO()
    for info in stackless.snapshot():
        if info.serial in numbers:
            print(f"tasklet {info.serial} {info.name!r}: {info.reason}", file=out)
            for call in info.stack:
                print(f'  File "{call.file}", line {call.line}, in {call.function}', file=out)
    return out.getvalue()


@pytest.fixture
def virtual_time() -> Iterator[_VirtualTime]:
    """The test is under stackless.testing.virtual_time(): sleeping takes no time."""
    from stackless import testing

    with testing.virtual_time() as clock:
        yield clock


@pytest.fixture
def explore(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Callable[..., None]:
    """stackless.testing.explore, which writes the animation of a failing run into a file."""
    from stackless import testing

    def run(program: Callable[[], object], **options: Any) -> None:
        file = tmp_path_factory.mktemp("stackless") / f"{request.node.name}.html"
        testing.explore(program, **{"animation": file, **options})

    return run
