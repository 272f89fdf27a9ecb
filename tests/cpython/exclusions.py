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
    "test_threading",
    "test_threadedtempfile",
    "test_queue",
    "test_sched",
    "test_context",
    "test_logging",
    "test_signal",
    "test_poll",
    "test_pty",
    "test_subprocess",
    "test_concurrent_futures.test_as_completed",
    "test_concurrent_futures.test_future",
    "test_concurrent_futures.test_shutdown",
    "test_concurrent_futures.test_thread_pool",
    "test_concurrent_futures.test_wait",
    "test_multiprocessing_main_handling",
]
#: Patched, with asyncio's own loop; and unpatched, in a tasklet, with stackless.aio.EventLoop.
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
    "test_asyncio.test_unix_events.TestFork.test_fork_signal_handling",
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
    "test_signal.StressTest.test_stress_delivery_simultaneous": "sleeps for 17 s, unpatched too",
    "test_signal.StressTest.test_stress_modifying_handlers": "a thread of it never makes a call "
    "that can wait, and is not interrupted so that others run: it would hang",
    "test_queue.Py*": "a second copy of the module, which is imported later and not patched",
    "test_concurrent_futures.test_thread_pool.*.test_hang_global_shutdown_lock": (
        "forks again and again beside a thread that never waits"
    ),
}

#: Tests that are not run patched. The selector of their loop is replaced by one that returns at
#: once: the loop turns without a call that can wait, and the thread of its executor, a tasklet,
#: never runs.
NOT_RUN_PATCHED = [
    "test_asyncio.test_base_events.*.test_asyncgen_finalization_by_gc_in_other_thread",
    "test_asyncio.test_base_events.*.test_check_thread",
    "test_asyncio.test_base_events.*.test_shutdown_default_executor_timeout",
    "test_asyncio.test_futures.*.test_wrap_future",
    "test_asyncio.test_selector_events.*.test_sock_connect_resolve_using_socket_params",
]

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
    "test_threading": 80,
    "test_queue": 10,
    "test_logging": 20,
    "test_signal": 10,
    "test_subprocess": 150,
    "test_concurrent_futures.test_shutdown": 30,
    "test_concurrent_futures.test_thread_pool": 8,
    "test_concurrent_futures.test_wait": 25,
    "test_multiprocessing_main_handling": 30,
    "test_asyncio.test_events": 100,
    "test_asyncio.test_subprocess": 60,
    "test_asyncio.test_tasks": 60,
}


#: The reason of three exclusions.
IN_PIECES = "sendfile() of a socket without a timeout would wait in the system: it sends in pieces"


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
    Exclusion("test_socket.SendfileUsingSendfileTest.testEmptyFileSend", IN_PIECES),
    Exclusion("test_socket.SendfileUsingSendfileTest.testOffset", IN_PIECES),
    Exclusion("test_socket.SendfileUsingSendfileTest.testRegularFile", IN_PIECES),
    Exclusion(
        "test_threading.ThreadTests.test_disallow_instantiation",
        "the type of locks can be called, as from Python 3.13 on",
        ("3.11", "3.12"),
    ),
    Exclusion(
        "test_threading.InterruptMainTests.test_can_interrupt_tight_loops",
        "a computation without a call is not interrupted so that another thread runs",
    ),
    Exclusion(
        "test_threading.InterruptMainTests.test_interrupt_main_subthread",
        "an exception of a signal handler is raised in the tasklet that runs, not in the main one",
    ),
    Exclusion(
        "test_subprocess.POSIXProcessTestCase.test_communicate_BrokenPipeError_stdin_write",
        "communicate() waits in a selector also if there is one pipe: its write() is not called",
    ),
    Exclusion(
        "test_threading.MiscTestCase.test__all__",
        "Lock, local and get_ident say that they are of another module",
    ),
    Exclusion(
        "test_threading.ThreadTests.test_PyThreadState_SetAsyncExc",
        "the C function takes the identity of an OS thread, and raises in its running tasklet",
    ),
    Exclusion(
        "test_threading.ThreadTests.test_get*_all_threads",
        "sets functions for OS threads: tasklets that wait keep theirs",
        ("3.12", "3.13", "3.14", "3.15"),
    ),
    Exclusion(
        "test_threading.ThreadTests.test_various_ops*",
        "get_native_id() is that of the OS thread, which they share",
    ),
    Exclusion(
        "test_thread.ThreadRunningTests.test__count",
        "_thread._count() counts OS threads, and its threads are tasklets",
    ),
]
