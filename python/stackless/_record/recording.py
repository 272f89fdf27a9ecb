"""`stackless.record`: records what the scheduler does, and saves that."""

from __future__ import annotations

import errno
import linecache
import os
import runpy
import sys
import sysconfig
from typing import IO, Any, Self

from stackless import _stackless
from stackless._package.own_code import DIRECTORY
from stackless._record import page

#: The forms in which a recording can be saved, by the suffix of the file.
FORMATS = {
    ".html": "an animation, for a browser",
    ".json": "the recording itself",
    ".pftrace": "a timeline, for Perfetto",
    ".perfetto-trace": "the same",
}

#: Code that is not shown in stacks: this package's, and the code that starts a script.
_HIDDEN = (DIRECTORY, runpy.__file__, "<frozen runpy>", "<frozen importlib")
#: Maximum number of characters of a source file that is kept with a recording.
_LARGEST_SOURCE = 500_000


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a recording's file. Raises ValueError if it is not in FORMATS."""
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()
    if suffix not in FORMATS:
        choices = ", ".join(f"{known} ({what})" for known, what in FORMATS.items())
        raise ValueError(f"{os.fsdecode(path)!r}: the suffix of the file must be one of {choices}")
    return suffix


def exported(recording: bytes, suffix: str) -> bytes:
    """Return a recording in the form of a suffix. Raises ValueError if it is damaged."""
    if suffix == ".json":
        _stackless._record_verify(recording)
        return recording
    if suffix == ".html":
        _stackless._record_verify(recording)
        return page.page(recording)
    return _stackless._record_perfetto(recording)


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if `path` is a file whose contents are not a recording."""
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        return
    suffix = suffix_of(path)
    with open(path, "rb") as file:
        if suffix == ".html":
            ours = page.holds_recording(file.read())
        elif suffix == ".json":
            ours = b'"stackless-recording"' in file.read(100)
        else:
            ours = file.read(1) == b"\n"  # so begins every Perfetto trace: field 1, a message
    if not ours:
        raise FileExistsError(
            errno.EEXIST, "the file exists and is no recording", os.fsdecode(path)
        )


def convert(
    source: str | os.PathLike[str], target: str | os.PathLike[str], overwrite: bool = False
) -> None:
    """Save the recording in one file (.json, or the .html of an animation) in another form.

    Raises ValueError if the source holds no recording or the target's suffix is unknown,
    FileExistsError if the target exists and is not a recording and `overwrite` is false, OSError if
    a file cannot be read or written.
    """
    suffix = suffix_of(target)
    if not overwrite:
        check_target(target)
    with open(source, "rb") as file:
        data = file.read()
    if os.fsdecode(source).lower().endswith(".html"):
        data = page.recording_in(data)
    result = exported(data, suffix)
    with open(target, "wb") as file:
        file.write(result)


class record:
    """A context manager that records what tasklets do, in all threads, and saves it at its end.

    The suffix of `path` chooses the form: .html is an animation, one file that any browser shows;
    .pftrace (or .perfetto-trace) is a timeline for Perfetto; .json is the recording itself, which
    `python -m stackless record --from` converts into the others.

    limit: maximum number of events; when there are more, the oldest are dropped and counted.
    values: True to show sent, thrown and returned values (see set_redactor()); False to show none.
    output: True to keep what is printed on sys.stdout and sys.stderr meanwhile.
    lines: True to record each line, call and return of the program's own code (not of the standard
    library or installed packages). The program becomes about ten times slower; needs Python 3.12.
    title: the title of the recording; by default the name of the script.
    overwrite: True to replace an existing file that is not a recording.

    The file is opened at once and written at the end, also when an exception leaves the block; the
    exception is not caught. Until then an existing file is not changed. Raises ValueError for an
    unknown suffix or a limit below 16, TypeError for a limit that is not an integer,
    FileExistsError if the file exists and is not a recording, OSError if it cannot be written,
    RuntimeError if a recording is in progress (there is one for all threads), or for lines=True
    where that is not possible. In a child process after a fork the recording is not continued.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limit: int = 1_000_000,
        values: bool = True,
        output: bool = True,
        lines: bool = False,
        title: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self._suffix = suffix_of(path)
        if not isinstance(limit, int):
            raise TypeError(f"limit must be an integer, not {type(limit).__name__}")
        if limit < 16:
            raise ValueError("limit must be at least 16 events")
        if lines and sys.version_info < (3, 12):
            raise RuntimeError("recording line by line needs Python 3.12")
        #: Where the recording is saved.
        self.path = os.fsdecode(path)
        #: Number of recorded events, and of the oldest ones that were dropped. Set at the end.
        self.events = 0
        self.dropped = 0
        self._limit = limit
        self._values = values
        self._output = output
        self._lines = _Lines() if lines else None
        self._title = title
        self._overwrite = overwrite
        self._file: IO[bytes] | None = None
        self._tees: list[tuple[str, _Tee]] = []

    def __enter__(self) -> Self:
        if not self._overwrite:
            check_target(self.path)
        _stackless._record_start(self._limit, self._values)
        try:
            if self._lines:
                self._lines.start()
            self._file = open(self.path, "ab")  # its contents stay until there is a recording
        except BaseException:
            if self._lines:
                self._lines.stop()
            _stackless._record_forget()
            raise
        if self._output:
            for name in ("stdout", "stderr"):
                tee = _Tee(getattr(sys, name), name == "stderr")
                setattr(sys, name, tee)
                self._tees.append((name, tee))
        return self

    def note(self, text: str) -> None:
        """Add a remark to the recording, at the current time. May be called from any thread."""
        _stackless._record_note(text)

    def __exit__(self, *exception: object) -> None:
        for name, tee in self._tees:
            if getattr(sys, name) is tee:
                setattr(sys, name, tee._stream)
        self._tees.clear()
        if self._lines:
            self._lines.stop()
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            self.events, self.dropped = _stackless._record_counts()
            files = _stackless._record_stop(_HIDDEN)
            title = self._title or os.path.basename(sys.argv[0]) or "python"
            python = f"Python {sys.version.split()[0]}"
            names = tuple(map(_display_name, files))
            sources = tuple(map(_source, files))
            data = _stackless._record_save(title, python, names, sources)
            exports = exported(data, self._suffix)
            if file.seekable():  # a pipe has no contents to replace
                file.truncate(0)
            file.write(exports)


def _display_name(path: str) -> str:
    """Return a shorter file name: relative to the current directory, the library, or the home."""
    if not os.path.isabs(path):
        return path
    places = [(os.getcwd(), ""), (sysconfig.get_path("stdlib"), "python"), (_home(), "~")]
    for directory, prefix in places:
        if directory and path.startswith(os.path.join(directory, "")):
            return os.path.join(prefix, os.path.relpath(path, directory))
    return path


def _home() -> str:
    home = os.path.expanduser("~")
    return "" if home == "~" else home


def _source(path: str) -> str:
    """Return the source that a recording keeps of a file: that of the program's own code only.

    Where a tasklet is in a library, the page shows the line of the program that called it.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if path.startswith(_quiet_places()) and path != main:
        return ""
    source = "".join(linecache.getlines(path))
    return source if len(source) <= _LARGEST_SOURCE else ""


class _Tee:
    """A text stream that forwards everything, and reports to the recording what is written."""

    def __init__(self, stream: Any, is_error: bool) -> None:
        self._stream = stream
        self._is_error = is_error

    def write(self, text: str) -> int:
        count: int = self._stream.write(text)
        _stackless._record_output(text, self._is_error)
        return count

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Lines:
    """Records the program's lines, calls and returns with sys.monitoring."""

    def __init__(self) -> None:
        self._tool: int | None = None

    def start(self) -> None:
        monitoring: Any = vars(sys)["monitoring"]  # unknown to type checkers for 3.11
        free = [tool for tool in (4, 3, 2, 1) if monitoring.get_tool(tool) is None]
        if not free:
            raise RuntimeError("all numbers of sys.monitoring tools are in use")
        self._tool = free[0]
        monitoring.use_tool_id(self._tool, "stackless recorder")
        _stackless._record_follow(_quiet_places(), monitoring.DISABLE)
        events = monitoring.events
        monitoring.register_callback(self._tool, events.LINE, _stackless._record_line)
        monitoring.register_callback(self._tool, events.PY_START, _stackless._record_call)
        monitoring.register_callback(self._tool, events.PY_RETURN, _stackless._record_return)
        monitoring.set_events(self._tool, events.LINE | events.PY_START | events.PY_RETURN)
        monitoring.restart_events()

    def stop(self) -> None:
        if self._tool is None:
            return
        monitoring: Any = vars(sys)["monitoring"]  # unknown to type checkers for 3.11
        monitoring.set_events(self._tool, 0)
        for event in (
            monitoring.events.LINE,
            monitoring.events.PY_START,
            monitoring.events.PY_RETURN,
        ):
            monitoring.register_callback(self._tool, event, None)
        monitoring.free_tool_id(self._tool)
        self._tool = None
        _stackless._record_follow((), None)


def _quiet_places() -> tuple[str, ...]:
    """Return the beginnings of the names of files whose lines are not recorded."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (*_HIDDEN, "<frozen ", *(os.path.join(path, "") for path in paths))


os.register_at_fork(after_in_child=_stackless._record_forget)
