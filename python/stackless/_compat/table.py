"""The differences between old Stackless and this package, each with a remedy.

Most entries test whether the package has a name, so that an entry is no longer used when the
feature is added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import stackless

ERROR, WARNING, INFO = "error", "warning", "info"
LEVELS = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Entry:
    """A name or a usage that this package does not have, or that behaves differently here."""

    kind: str
    names: str
    level: str
    reason: str
    remedy: str
    #: Returns True if it exists here: then it is not reported, or with the level `present`.
    here: Callable[[], bool] | None = None
    present: str | None = None
    #: True to report it for an object of unknown type, too: other types have no such attribute.
    telling: bool = False
    #: True to report it only once for each file.
    once: bool = False


def _importable(name: str) -> Callable[[], bool]:
    return lambda: find_spec(name) is not None


def _member(owner: type, name: str) -> Callable[[], bool]:
    return lambda: name in vars(owner)


def _pauses() -> None:
    stackless.schedule_remove(None)


def _parks() -> bool:
    """Return True if a started tasklet can be parked, so that it has no C stack."""
    started = stackless.tasklet(_pauses, ())
    started.run()
    try:
        return started.restorable
    finally:
        started.kill()


#: The names that Stackless programs may use: of the module, of tasklets and of channels.
API = {
    "module": set(
        """
        atomic bomb channel current debug enable_softswitch get_channel_callback
        get_schedule_callback get_thread_info getcurrent getcurrentid getdebug getmain getruncount
        getthreads getuncollectables main pickle_flags pickle_flags_default
        pickle_with_tracing_state run runcount schedule schedule_remove set_channel_callback
        set_error_handler set_schedule_callback stackless switch_trap tasklet threads uncollectables
        PICKLEFLAGS_PRESERVE_TRACING_STATE PICKLEFLAGS_PRESERVE_AG_FINALIZER
        PICKLEFLAGS_RESET_AG_FINALIZER PICKLEFLAGS_PICKLE_CONTEXT TaskletExit
        """.split()
    ),
    "tasklet": set(
        """
        bind setup insert remove run switch throw raise_exception kill set_atomic
        set_ignore_nesting bind_thread set_context context_run __reduce__ __reduce_ex__
        __setstate__ __del__ alive paused scheduled blocked is_main is_current atomic ignore_nesting
        restorable thread_id next prev frame nesting_level recursion_depth context_id _channel
        tempval block_trap trace_function profile_function
        """.split()
    ),
    "channel": set(
        """
        send receive send_exception send_throw send_sequence close open __iter__ __next__
        __reduce__ __reduce_ex__ __setstate__ balance queue closing closed preference schedule_all
        """.split()
    ),
}

_NO_FRAMES = "tasklets run on C stacks of their own, there is no list of C frames to show"
_STARTED = "a tasklet that was started keeps its C stack"

TABLE = [
    # ---- internals of the fork, which do not exist on stock CPython
    Entry("module", "_wrap", ERROR, "the stand-ins for pickled frames and functions of the fork",
          "pickle tasklets and functions as a whole, with `stackless.dumps`"),
    Entry("module", "_pickle_moduledict", ERROR, "the fork's way to pickle modules",
          "leave the call out; modules can be imported by name after loading"),
    Entry("module", "cframe cstack slpmodule", ERROR, _NO_FRAMES,
          "leave it out, or look at `tasklet.frame` and its `f_back`"),
    Entry("module", "test_cframe test_cframe_nr test_outside test_cstate test_nostacks", ERROR,
          "a self-test of the fork", "leave it out"),
    Entry("module", "_peek", ERROR, "reads memory of the fork's interpreter", "leave it out"),
    Entry("module", "_get_refinfo _get_all_objects", ERROR,
          "a reference debugger of the fork's debug builds", "use `gc` or `tracemalloc`"),
    Entry("module", "_gc_track _gc_untrack", ERROR, "hides objects from the garbage collector",
          "leave it out: suspended tasklets' variables are visible to the collector here"),
    Entry("module", "run_watchdog", ERROR, "an old name of `run`", "use `stackless.run(timeout)`"),
    Entry("tasklet", "cstate", ERROR, _NO_FRAMES,
          "look at `alive`, `nesting_level` or `getuncollectables()` instead", telling=True),
    Entry("tasklet", "become capture", ERROR, "gone from Stackless itself since version 3",
          "use a channel, or `bind` and `setup`"),
    Entry("c", "*", ERROR, "the C interface of Stackless is not there",
          "call the Python names through PyObject_CallMethod, move this code to Python, or use the "
          "table of functions `stackless.scheduler._C_API`"),
    Entry("import", "_stackless", ERROR, "the fork's built-in module",
          "import stackless", here=_importable("_stackless")),
    # ---- not yet
    Entry("tasklet", "bind_thread", ERROR,
          f"refused with a RuntimeError after the start: {_STARTED}",
          "make the tasklet in the thread where it shall run, and use channels between threads",
          here=_member(stackless.tasklet, "bind_thread"), present=WARNING, telling=True),
    Entry("module", "enable_softswitch", ERROR,
          f"soft switching does not make tasklets restorable: {_STARTED}",
          "leave the call out",
          here=lambda: hasattr(stackless, "enable_softswitch"), present=WARNING),
    # ---- works differently
    Entry("pickle", "pickle cPickle copyreg copy_reg", INFO,
          "pickle takes lambdas and nested functions only in the variables of tasklets and"
          " generators; the fork took them anywhere, and its own pickles cannot be read",
          "use `stackless.dumps` and `stackless.loads`", once=True),
    Entry("call", "run(timeout)", WARNING,
          "ticks come in portions: 5 for a turn of a loop or a call (2 for a line or a call on"
          " Python 3.11), however much code that is", "measure, and try smaller numbers"),
    Entry("call", "bind(None)", WARNING,
          f"refused with a RuntimeError after the start: {_STARTED}",
          "use `kill()`, which runs its `finally` blocks; one that never started can be unbound",
          here=_parks),
    Entry("tasklet", "restorable", WARNING, f"False after the start: {_STARTED}",
          "do not wait for it to become true", here=_parks, telling=True),
    Entry("tasklet", "nesting_level", INFO,
          "`with` statements, generators and `__init__` may count differently from the fork",
          "compare with 0 only where nothing but Python functions call each other", telling=True),
    Entry("module", "getuncollectables uncollectables", INFO,
          "lists every tasklet that is suspended, as each has a C stack",
          "do not take an entry for a leak", here=_parks),
    Entry("module", "atomic", WARNING, "does not keep other threads from running",
          "where another thread could interfere, use a lock of `threading`", once=True),
    Entry("tasklet", "set_atomic", WARNING, "does not keep other threads from running",
          "where another thread could interfere, use a lock of `threading`", telling=True,
          once=True),
    Entry("module", "schedule_remove", INFO,
          "a paused tasklet without references gets TaskletExit, so its `finally` blocks run;"
          " the fork dropped it silently", "keep a reference to a tasklet that shall continue",
          here=_parks,
          once=True),
    Entry("call", "close()", INFO,
          "wakes tasklets that wait in a `for` loop over the channel; the fork let them wait",
          "nothing to do if the loops may end", once=True),
    Entry("channel", "next", ERROR, "a method of Python 2", "use `next(channel)`"),
    Entry("call", "sys.version", ERROR, "sys.version does not mention Stackless on stock CPython",
          "try `import stackless` and catch the ImportError"),
    Entry("call", "sys.setrecursionlimit", INFO,
          "deep recursion is not moved to the heap: beyond the limit there is a RecursionError, and"
          " recursion through C code needs stack",
          "see stackless.set_stack_limits(), or make each level a tasklet", once=True),
    # ---- modules around Stackless
    Entry("import", "stacklesslib", ERROR, "made for the fork",
          "most of it is here: stackless.sleep(), timeout(), run_tasklet(), to_thread(),"
          " tasklet.join(), stackless.socket, stackless.monkey; its locks are not",
          here=_importable("stacklesslib"), present=INFO),
    Entry("import", "stacklesssocket", ERROR,
          "made for the fork, on asyncore, which Python 3.12 dropped",
          "use stackless.socket, or stackless.monkey for code that imports socket",
          here=_importable("stacklesssocket"), present=INFO),
    Entry("import", "continuation microthread uthread uthread2", ERROR,
          "was never a part of Stackless, or is gone since version 2",
          "use tasklets and channels", here=lambda: False),
    Entry("scheduler", "scheduler", ERROR, "the scheduler of the Carbon engine is not installed",
          'use `sys.modules["scheduler"] = stackless.scheduler` before the import, or import'
          " stackless.scheduler", here=_importable("scheduler")),
    Entry("together", "greenlet gevent eventlet", INFO,
          "switching tasklets inside a child greenlet is refused",
          "keep whole greenlet programs inside one tasklet, or change over", once=True),
    # ---- modules that Python has removed
    Entry("import", "asyncore asynchat", ERROR, "gone in Python 3.12",
          "use `selectors` in a tasklet of its own, and channels", here=_importable("asyncore"),
          present=WARNING),
    Entry("import", "imp", ERROR, "gone in Python 3.12", "use `importlib`",
          here=_importable("imp"), present=WARNING),
    Entry("import", "smtpd", ERROR, "gone in Python 3.12", "use the package aiosmtpd",
          here=_importable("smtpd"), present=WARNING),
    Entry("import", "distutils", ERROR, "gone in Python 3.12", "use setuptools",
          here=_importable("distutils"), present=WARNING),
    Entry("import", "cgi telnetlib crypt pipes nntplib imghdr sndhdr", ERROR,
          "gone in Python 3.13", "use a package that replaces it", here=_importable("telnetlib"),
          present=WARNING),
]  # fmt: skip

# The old names of modules: (Python 2, Python 3).
RENAMED = dict(
    pair.split(":")
    for pair in """
    thread:_thread Queue:queue cPickle:pickle copy_reg:copyreg StringIO:io cStringIO:io
    urllib2:urllib.request urlparse:urllib.parse SocketServer:socketserver httplib:http.client
    BaseHTTPServer:http.server SimpleHTTPServer:http.server HTMLParser:html.parser
    ConfigParser:configparser Tkinter:tkinter __builtin__:builtins xmlrpclib:xmlrpc.client
    sets:builtins exceptions:builtins commands:subprocess popen2:subprocess md5:hashlib sha:hashlib
    """.split()
)

#: TABLE by kind and name.
ENTRIES = {(entry.kind, name): entry for entry in TABLE for name in entry.names.split()}
CONVERT = (
    "convert it first (with 2to3, which came with Python up to 3.12, or its successor fissix),"
    " then run compat again"
)
