"""What `check` knows of objects that cannot be pickled: what makes them, and what to do instead."""

from __future__ import annotations

import sys
from typing import Any

_CLOSE = "close it before the call and `del` the variable, or do all of this in one step"
_LOCK = "do not hold it over the call: use it inside of steps"
_CONNECT = "connect inside of the step that needs it"
_STEP = "use it inside of one step"
_LIST = "make a list of it first"

#: Names of what makes them -> what that is, and what can be done.
_MAKERS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        "builtins.open io.open io.TextIOWrapper io.BufferedReader io.FileIO os.fdopen gzip.open "
        "gzip.GzipFile bz2.open lzma.open tempfile.TemporaryFile tempfile.NamedTemporaryFile "
        "tempfile.SpooledTemporaryFile zipfile.ZipFile tarfile.open typing.IO typing.TextIO "
        "typing.BinaryIO mmap.mmap".split(),
        ("an open file", _CLOSE),
    ),
    "tempfile.TemporaryDirectory": ("a temporary directory of this process", _STEP),
    **dict.fromkeys(
        "socket.socket socket.create_connection socket.create_server stackless.socket.socket "
        "stackless.socket.create_connection urllib.request.urlopen "
        "http.client.HTTPConnection http.client.HTTPSConnection smtplib.SMTP "
        "smtplib.SMTP_SSL imaplib.IMAP4 ftplib.FTP ssl.SSLContext "
        "ssl.create_default_context".split(),
        ("a connection", _CONNECT),
    ),
    **dict.fromkeys(
        "sqlite3.connect sqlite3.Connection sqlite3.Cursor psycopg.connect psycopg.Connection "
        "psycopg2.connect pymysql.connect MySQLdb.connect redis.Redis redis.from_url "
        "pymongo.MongoClient httpx.Client sqlalchemy.create_engine".split(),
        ("a connection", f"{_CONNECT}; writes that belong to a step: durable.transaction"),
    ),
    **dict.fromkeys(
        "threading.Lock threading.RLock _thread.allocate_lock _thread.LockType _thread.RLock "
        "threading.Condition threading.Semaphore threading.BoundedSemaphore threading.Event "
        "threading.Barrier multiprocessing.Lock queue.Queue queue.SimpleQueue".split(),
        ("a lock", _LOCK),
    ),
    **dict.fromkeys(
        "threading.Thread threading.Timer threading.local subprocess.Popen select.epoll "
        "selectors.DefaultSelector concurrent.futures.ThreadPoolExecutor "
        "concurrent.futures.ProcessPoolExecutor multiprocessing.Pool multiprocessing.Process "
        "asyncio.new_event_loop asyncio.get_running_loop contextvars.Token".split(),
        ("part of this process", _STEP),
    ),
    **dict.fromkeys(
        "re.match re.search re.fullmatch re.Match".split(),
        ("a match", "keep match.groups() or match.groupdict() instead"),
    ),
    **dict.fromkeys(
        "re.finditer os.scandir csv.reader csv.writer csv.DictReader csv.DictWriter".split(),
        ("an iterator that C code keeps", _LIST),
    ),
    "weakref.ref": ("a weak reference", "refer to the object itself"),
}
if sys.version_info >= (3, 14):  # before, itertools could be pickled
    for _name in "count cycle chain repeat islice product groupby starmap accumulate".split():
        _MAKERS[f"itertools.{_name}"] = (
            "an iterator that C code keeps",
            "write a generator function instead",
        )

#: Methods whose result is such an object, whatever has them.
METHODS = {
    "open": _MAKERS["builtins.open"],
    "cursor": _MAKERS["sqlite3.connect"],
    "finditer": _MAKERS["re.finditer"],
    "makefile": _MAKERS["builtins.open"],
}


def obstacle(made_by: Any) -> tuple[str, str] | None:
    """Return what an object is that this makes, or is the class of, and what to do about it."""
    for name, found in _MAKERS.items():
        module, _, attribute = name.rpartition(".")
        thing = getattr(sys.modules.get(module), attribute, None)
        if thing is None:
            continue
        if thing is made_by:
            return found
        if isinstance(thing, type) and isinstance(made_by, type) and issubclass(made_by, thing):
            return found
    return None


def is_obstacle(value: Any) -> tuple[str, str] | None:
    """Return the same for an object that is there already."""
    return obstacle(type(value))
