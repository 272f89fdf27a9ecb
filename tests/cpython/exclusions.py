"""CPython's own tests that cannot pass under `monkey.patch_all()`, with the reasons.

Patterns are those of file names, for `module.Class.test`.
"""

from typing import NamedTuple

MODULES = [
    "test_ssl",
    "test_socket",
    "test_selectors",
    "test_ftplib",
    "test_timeout",
    "test_urllib2_localnet",
    "test_socketserver",
    "test_time",
    "test_smtplib",
    "test_select",
    "test_httpservers",
    "test_httplib",
    "test_urllib",
    "test_urllib2",
    "test_wsgiref",
    "test_threading_local",
    "test_thread",
]
#: Run unpatched, in a tasklet, with stackless.aio.EventLoop as the loop of asyncio.
LOOP_MODULES = [
    f"test_asyncio.test_{part}"
    for part in (
        "base_events",
        "buffered_proto",
        "context",
        "eager_task_factory",
        "events",
        "futures",
        "futures2",
        "locks",
        "pep492",
        "protocols",
        "queues",
        "runners",
        "selector_events",
        "sendfile",
        "server",
        "sock_lowlevel",
        "ssl",
        "sslproto",
        "staggered",
        "streams",
        "subprocess",
        "taskgroups",
        "tasks",
        "threads",
        "timeouts",
        "transports",
        "unix_events",
        "waitfor",
    )
]
SMOKE = ["test_select", "test_timeout", "test_socketserver", "test_urllib2_localnet"]

#: Tests that run in the main tasklet, beside another one: an exception that a signal handler raises
#: while the thread sleeps is raised there, and not in the tasklet that waits.
IN_MAIN = [
    "test_selectors.*.test_select_interrupt_exc",
    "test_socket.GeneralModuleTests.test_sendall_interrupted*",
    "test_socket.InterruptedRecvTimeoutTest.*",
    "test_socket.InterruptedSendTimeoutTest.*",
    "test_socket.TCPTimeoutTest.testInterruptedTimeout",
]

#: Tests that are not run at all, patched or not.
NOT_RUN = {
    "test_timeout.TCPTimeoutTestCase.*": "asks for the address of a server on the internet",
    "test_socket.ThreadedVSOCKSocketStreamTest.*": "waits for ever in some virtual machines",
}

#: Minimum number of tests of a module that must be seen to have let another tasklet run.
MUST_SWITCH = {
    "test_ssl": 70,
    "test_socket": 250,
    "test_selectors": 6,
    "test_ftplib": 20,
    "test_timeout": 1,
    "test_urllib2_localnet": 10,
    "test_socketserver": 5,
    "test_time": 2,
    "test_smtplib": 10,
    "test_select": 1,
    "test_httpservers": 20,
    "test_httplib": 1,
    "test_threading_local": 4,
    "test_thread": 10,
}


class Exclusion(NamedTuple):
    pattern: str
    reason: str
    #: The minor versions that an entry holds for, or all.
    pythons: tuple[str, ...] = ()


EXCLUDED = [
    Exclusion(
        "test_select.SelectTestCase.test_disallow_instantiation",
        "select.poll is a class here, in the standard module a function",
    ),
    Exclusion(
        "test_socket.GeneralModuleTests.testRefCountGetNameInfo",
        "counts references while the traceback holds a frame of ours, and that the name",
    ),
    Exclusion(
        "test_thread.ThreadRunningTests.test__count",
        "_thread._count() counts OS threads, and its threads are tasklets",
    ),
]
