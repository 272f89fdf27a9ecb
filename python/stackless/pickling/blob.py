"""`dumps` and `loads`: pickles that are checked before anything in them is unpickled.

The checksum detects accidental damage, not tampering; the signature detects both. A blob is:

offset  bytes
     0      4  MAGIC
     4      1  version of this format
     5      1  bits: 1 if it is signed, 2 if its code is in a code store, 4 if it has buffers
     6      8  length of all bytes after the checksum or signature
    14     16  BLAKE2b of everything else; if signed, 32 bytes: HMAC-SHA-256 of everything else
            1  Python minor
            2  magic number of the bytecode
            2  number of modules; for each: length of its name (2), name, digest (8)
            2  if its code is in a code store: number of code objects; for each: digest (16)
            4  if it has buffers: their number; for each: its length (8), SHA-256 (32)
               a pickle

Buffers are passed beside the blob. Their digests are in it, so that its checksum or signature
covers them as well.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol

from stackless.pickling import code, sources

MAGIC = b"\x93SLP"
FORMAT = 2
#: Formats that are read. In 1 there are no packed frames.
READABLE = (1, 2)
#: Default of the maximum size of a blob that is loaded: 64 MiB.
MAX_SIZE = 64 * 1024 * 1024
SIGNED, _CODE_ELSEWHERE, _BUFFERS = 1, 2, 4
_HEAD = struct.Struct("<4sBBQ")
_PYTHON = struct.Struct("<BHH")
_COUNT = struct.Struct("<H")
_BUFFER_COUNT = struct.Struct("<I")
#: The length of a buffer, and its SHA-256.
_BUFFER = struct.Struct("<Q32s")
_NO_MODULES = _PYTHON.pack(sys.version_info.minor, code.MAGIC, 0)
_MOST_CODES = 0xFFFF
_CHECKSUM, _SIGNATURE, _KEY = 16, 32, 1

Key = bytes | bytearray | memoryview
#: What `loads` takes as a buffer: these, and all other objects that have the buffer protocol.
Buffer = Any


class BlobError(pickle.UnpicklingError):
    """A blob is refused before anything in it is unpickled. The base class of the errors here."""


class NotABlobError(BlobError):
    """The data was not written by stackless.dumps, or by a release with another format."""


class DamagedError(BlobError):
    """A blob was changed since it was written, or its end is missing."""


class SignatureError(BlobError):
    """A blob is not signed, or not with one of the keys, or there is no key to check it with."""


class TooLargeError(BlobError):
    """A blob is larger than the maximum size."""


class BuffersError(BlobError):
    """The buffers that were given to `loads` are not as many as `dumps` has handed out."""


class Readable(Protocol):
    """A file that `load` reads from."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """A file that `dump` writes to."""

    def write(self, data: bytes, /) -> object: ...


def dumps(
    obj: object,
    *,
    protocol: int | None = None,
    key: Key | None = None,
    code_store: MutableMapping[bytes, bytes] | None = None,
    same_program: bool = False,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> bytes:
    """Pickle an object, which may contain tasklets and functions, into a blob for `loads`.

    `protocol` is pickle's; by default the highest. With `key`, the blob is signed with it
    (HMAC-SHA-256): only a program that has the key can make blobs that `loads` accepts.

    With `code_store`, a mapping, the blob holds digests of the code objects (16 bytes each), and
    their data are put into the store under these, unless they are there: many blobs of the same
    functions share them. `loads` needs them again. An exception of the store is raised.

    With `same_program`, the blob is for the same program, now or later: functions, classes and
    globals of `__main__` are pickled by name, as those of other modules are, and as pickle does;
    the blob names no modules, so that `loads` does not compare their sources.

    With `buffer_callback`, as in `pickle.dumps`, it is called with a PickleBuffer for each buffer
    that an object offers (PEP 574; numpy's arrays do). If it returns something false, the blob does
    not hold the buffer but its length and digest, and `loads` needs the same bytes again, in the
    same order; if true, the blob holds it. A buffer must not change before this function returns.

    Functions and classes of `__main__` and of modules that cannot be imported are pickled by value,
    with the globals that they use. Others are pickled by name, and the blob names the modules of
    such functions with a digest of their source. Raises pickle.PicklingError, or another exception
    of pickle, for an object that cannot be pickled (`why_not_picklable` explains), what the
    callback raises, ValueError for a protocol that does not exist, or one below 5 with a callback,
    or an empty key, TypeError for arguments of other types; then the buffers that the callback got
    are released. May be called from any thread.
    """
    keys = () if key is None else _keys(key if type(key) is bytes else [key])
    if protocol is not None:
        _check_int("protocol", protocol)
    if buffer_callback is not None and not callable(buffer_callback):
        raise TypeError(f"buffer_callback must be callable, not {type(buffer_callback).__name__}")
    buffers = _Buffers(buffer_callback)
    # Pickle refuses a callback for protocols 0 to 4: so that of the caller, but not ours.
    none = buffer_callback is None and protocol is not None and 0 <= protocol < 5
    callback = None if none else buffers
    file = io.BytesIO()
    codes: dict[bytes, bytes] | None = None if code_store is None else {}
    try:
        # The memo is dropped with the pickler. `clear_memo` would run Python code, of weak
        # references for example, while the garbage collector can still see objects that were
        # dropped already.
        pickler = (_new_pickler or _imported())(file, protocol, codes, same_program, callback)
        pickler.dump(obj)
        flags, table = SIGNED if keys else 0, b""
        if code_store is not None and codes is not None:
            if len(codes) > _MOST_CODES:
                raise pickle.PicklingError(f"more than {_MOST_CODES} code objects")
            for digest, data in codes.items():
                if digest not in code_store:
                    code_store[digest] = data
            flags |= _CODE_ELSEWHERE
            table = b"".join((_COUNT.pack(len(codes)), *codes))
        if buffers.apart:
            flags |= _BUFFERS
            each_of_them = (_BUFFER.pack(*_size_and_digest(each)) for each in buffers.apart)
            table = b"".join((table, _BUFFER_COUNT.pack(len(buffers.apart)), *each_of_them))
        rest = b"".join((_python_and_modules(pickler.modules), table, file.getbuffer()))
        head = _HEAD.pack(MAGIC, FORMAT, flags, len(rest))
        return b"".join((head, _seal(head, rest, *keys), rest))
    except BaseException:
        # The exception keeps this frame and the pickler. Before 3.12.7 CPython crashes when the
        # collector finds a memoryview that a buffer still uses (CPython issue 77894).
        for each in buffers.offered:
            each.release()
        raise


class _Buffers:
    """The `buffer_callback` of a pickler: keeps the buffers that objects offer.

    `function`: the callback of the caller, or None.
    """

    __slots__ = ("_function", "apart", "offered")

    def __init__(self, function: Callable[[pickle.PickleBuffer], object] | None) -> None:
        self._function = function
        #: Those that are not put into the pickle, and all.
        self.apart: list[pickle.PickleBuffer] = []
        self.offered: list[pickle.PickleBuffer] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        self.offered.append(buffer)
        if self._function is None or self._function(buffer):
            return True
        self.apart.append(buffer)
        return False


def _size_and_digest(buffer: Buffer) -> tuple[int, bytes]:
    """Return what a blob says of a buffer. TypeError for another object, or not contiguous."""
    try:
        raw = pickle.PickleBuffer(buffer).raw()
    except (TypeError, BufferError, ValueError) as error:
        raise TypeError(
            f"buffers must be contiguous bytes-like objects, not {type(buffer).__name__}: {error}"
        ) from None
    with raw:  # see dumps: no frame of an exception may keep it
        return raw.nbytes, hashlib.sha256(raw).digest()


#: The class `Pickler`, after the first use.
_new_pickler: Any = None


def _imported() -> Any:
    global _new_pickler
    from stackless.pickling.pickler import Pickler  # imports cloudpickle

    _new_pickler = Pickler
    return Pickler


def dump(
    obj: object,
    file: Writable,
    *,
    protocol: int | None = None,
    key: Key | None = None,
    code_store: MutableMapping[bytes, bytes] | None = None,
    same_program: bool = False,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> None:
    """Write what `dumps` returns to a file open for binary writing.

    A file may hold several blobs one after the other. Raises what `dumps` and the file raise.
    """
    _check_file(file, "write")
    file.write(
        dumps(
            obj,
            protocol=protocol,
            key=key,
            code_store=code_store,
            same_program=same_program,
            buffer_callback=buffer_callback,
        )
    )


def loads(
    blob: bytes | bytearray | memoryview,
    *,
    key: Key | Iterable[Key] | None = None,
    max_size: int | None = MAX_SIZE,
    allow_changed_source: bool = False,
    code_store: Mapping[bytes, bytes] | None = None,
    buffers: Iterable[Buffer] | None = None,
) -> Any:
    """Return a copy of the object that was given to `dumps`.

    Unpickling runs code: load only blobs from sources that you trust. With `key`, or several keys
    of which one must fit, only a blob that was signed with it is accepted. Before anything is
    unpickled the blob is checked: its size (`max_size` in bytes; None for any), format, checksum or
    signature, the Python that wrote it, that its code is in `code_store` (if `dumps` was given
    one), its `buffers` (those that the `buffer_callback` of `dumps` got, or objects with the same
    bytes, in the same order; `max_size` does not count them), and, unless `allow_changed_source`,
    that the modules of its functions are the same here. If a check fails, a subclass of
    pickle.UnpicklingError says which:

    * NotABlobError, DamagedError, SignatureError, TooLargeError
    * BuffersError: there are fewer or more buffers than the blob needs
    * CodeVersionError: another Python minor wrote it
    * MissingCodeError: the code store does not have its code
    * SourceError: a module is missing here, or its source or its package's version differs

    The objects use the memory of the buffers, and can change it unless it is read-only; nothing may
    change the buffers meanwhile.

    After that it raises what unpickling raises. Raises TypeError for arguments of the wrong types,
    ValueError for an empty key. The objects belong to the calling thread. May be called from any
    thread.
    """
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise TypeError(f"loads() needs bytes, not {type(blob).__name__}")
    view = memoryview(blob).cast("B")
    length, check = _open(bytes(view[: _HEAD.size]), key, max_size)
    return check.load(_sealed(view, length, check), allow_changed_source, code_store, buffers)


def load(
    file: Readable,
    *,
    key: Key | Iterable[Key] | None = None,
    max_size: int | None = MAX_SIZE,
    allow_changed_source: bool = False,
    code_store: Mapping[bytes, bytes] | None = None,
    buffers: Iterable[Buffer] | None = None,
) -> Any:
    """Read one blob from a file open for binary reading, and return what `loads` returns.

    Reads only the bytes of the blob; of a blob that is too large only the header. Raises EOFError
    at the end of the file.
    """
    _check_file(file, "read")
    head = _read(file, _HEAD.size)
    if not head:
        raise EOFError("there is no blob left in the file")
    length, check = _open(head, key, max_size)
    seal = _read(file, check.size)
    rest = _read(file, length)
    if len(seal) + len(rest) != check.size + length:
        raise DamagedError("the file ends in the middle of a blob")
    check.check(seal, memoryview(rest))
    return check.load(memoryview(rest), allow_changed_source, code_store, buffers)


def _read(file: Readable, size: int) -> bytes:
    # In pieces: a damaged length must not allocate memory for bytes that do not exist.
    parts = []
    while size > 0 and (part := file.read(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# ------------------------------------------------------------------ checks


class _Check:
    """The checks of a blob whose header was read: its seal, its table of modules."""

    def __init__(self, head: bytes, flags: int, keys: tuple[bytes, ...]) -> None:
        self.head = head
        self.flags = flags
        self.keys = keys
        self.size = _SIGNATURE if flags & SIGNED else _CHECKSUM

    def load(
        self,
        rest: memoryview,
        allow_changed_source: bool,
        code_store: Mapping[bytes, bytes] | None,
        buffers: Iterable[Buffer] | None,
    ) -> Any:
        table = read_table(rest, self.flags)
        code.check_version(*table.python)
        given = self.checked_buffers(table.buffers, buffers)
        if not allow_changed_source:
            for name, digest in table.modules:
                sources.check(name, digest)
        if table.codes and code_store is None:
            raise code.MissingCodeError(
                "the code of the blob is in a code store: give it as code_store"
            )
        fetched = code.fetch(table.codes, code_store)
        from stackless.pickling import class_lock  # noqa: F401  # imports cloudpickle

        found = pickle.loads(rest[table.size :], buffers=given)
        del fetched  # until here these code objects have to live
        return found

    def checked_buffers(
        self, needed: list[tuple[int, bytes]], buffers: Iterable[Buffer] | None
    ) -> list[Buffer]:
        """Return the buffers if they are those of the blob.

        Raises BuffersError; DamagedError, or SignatureError if the blob is signed; TypeError.
        """
        if not needed and buffers is None:
            return []
        given = list(() if buffers is None else buffers)
        found = [_size_and_digest(each) for each in given]
        if len(found) != len(needed):
            raise BuffersError(f"the blob needs {len(needed)} buffers, and {len(found)} were given")
        for number, (each, expected) in enumerate(zip(found, needed, strict=True)):
            if each != expected:
                text = f"the buffer number {number} is not the one that was pickled"
                if self.flags & SIGNED:
                    raise SignatureError(f"{text}, which the signature covers")
                raise DamagedError(f"{text}, or it is damaged")
        return given

    def check(self, seal: bytes, rest: memoryview) -> None:
        """Check the checksum or signature. Raises DamagedError or SignatureError."""
        if self.keys:
            # All keys are tried, so that the time taken does not tell which one fits.
            fits = [hmac.compare_digest(seal, _seal(self.head, rest, key)) for key in self.keys]
            if not any(fits):
                raise SignatureError("the blob was not signed with this key, or it is damaged")
        elif seal != _seal(self.head, rest):
            raise DamagedError("the blob is damaged: its checksum is wrong")


def _open(head: bytes, key: Key | Iterable[Key] | None, max_size: int | None) -> tuple[int, _Check]:
    """Check a header; return the number of bytes after the seal, and the check to be done."""
    keys = _keys(key)
    flags, length = _header(head, max_size)
    if keys and not flags & SIGNED:
        raise SignatureError("the blob is not signed, and a key was given")
    if flags & SIGNED and not keys:
        raise SignatureError("the blob is signed: give the key to check it with")
    return length, _Check(head, flags, keys)


def _header(head: bytes, max_size: int | None) -> tuple[int, int]:
    """Return the flags, and the number of bytes after the seal."""
    _check_int("max_size", max_size)
    if head[: len(MAGIC)] != MAGIC:
        hint = "; it looks like a plain pickle" if head[:1] == b"\x80" else ""
        raise NotABlobError(f"this was not written by stackless.dumps{hint}")
    if len(head) < _HEAD.size:
        raise DamagedError("the blob ends in its header")
    _, version, flags, length = _HEAD.unpack(head)
    if version not in READABLE:
        raise NotABlobError(
            f"the blob has format {version}; this release reads formats {READABLE[0]} to {FORMAT}"
        )
    if flags & ~(SIGNED | _CODE_ELSEWHERE | _BUFFERS if version > 1 else SIGNED):
        raise DamagedError(f"the blob has unknown flags: {flags}")
    if max_size is not None and length > max_size:
        raise TooLargeError(f"the blob has {length} bytes; at most {max_size} are accepted")
    return flags, length


class Opened(NamedTuple):
    """A blob whose pickle is not going to be unpickled."""

    version: int
    flags: int
    #: True if the signature was checked.
    verified: bool
    table: Table
    pickle: bytes


def opened(view: memoryview, key: Key | Iterable[Key] | None, max_size: int | None) -> Opened:
    """Check a blob as `loads` does, but for the Python and the modules; without a key no signature.

    Raises NotABlobError, DamagedError, SignatureError, TooLargeError.
    """
    head = bytes(view[: _HEAD.size])
    if key is None and (flags := _header(head, max_size)[0]) & SIGNED:
        length, check = len(view) - _HEAD.size - _SIGNATURE, _Check(head, flags, ())
        if length != _HEAD.unpack(head)[3]:
            raise DamagedError("the blob has the wrong length")
        rest = view[_HEAD.size + check.size :]
    else:
        length, check = _open(head, key, max_size)
        rest = _sealed(view, length, check)
    table = read_table(rest, check.flags)
    return Opened(head[4], check.flags, bool(check.keys), table, bytes(rest[table.size :]))


def _sealed(view: memoryview, length: int, check: _Check) -> memoryview:
    """Return what is after the seal of a whole blob, which is checked."""
    whole = _HEAD.size + check.size + length
    if len(view) != whole:
        raise DamagedError(f"the blob has {len(view)} bytes, not {whole}")
    rest = view[_HEAD.size + check.size :]
    check.check(bytes(view[_HEAD.size :][: check.size]), rest)
    return rest


def _seal(head: bytes, rest: bytes | memoryview, key: bytes | None = None) -> bytes:
    if key is None:
        digest = hashlib.blake2b(head, digest_size=_CHECKSUM)
        digest.update(rest)
        return digest.digest()
    return hmac.digest(key, b"".join((head, rest)), "sha256")


def _python_and_modules(modules: Collection[str]) -> bytes:
    if not modules:
        return _NO_MODULES
    digests = {name: sources.digest(name) for name in sorted(modules)}
    parts = [_PYTHON.pack(sys.version_info.minor, code.MAGIC, len(digests))]
    for name, digest in digests.items():
        encoded = name.encode("utf-8", "surrogatepass")
        parts.append(struct.pack("<H", len(encoded)) + encoded + digest)
    return b"".join(parts)


class Table(NamedTuple):
    """What precedes the pickle of a blob."""

    #: The minor version of the Python that wrote it, and the magic number of its bytecode.
    python: tuple[int, int]
    #: Names and digests of the modules of its functions.
    modules: list[tuple[str, bytes]]
    #: Digests of its code objects, if those are in a code store.
    codes: list[bytes]
    #: Lengths and digests of its buffers.
    buffers: list[tuple[int, bytes]]
    #: Where the pickle begins.
    size: int


def read_table(rest: memoryview, flags: int) -> Table:
    """Read what precedes the pickle of a blob. Raises DamagedError."""
    try:
        minor, magic, count = _PYTHON.unpack_from(rest)
        at, modules = _PYTHON.size, []
        for _ in range(count):
            (size,) = _COUNT.unpack_from(rest, at)
            name, digest = rest[at + 2 :][:size], rest[at + 2 + size :][: sources.SIZE]
            at += 2 + size + sources.SIZE
            modules.append((str(name, "utf-8", "surrogatepass"), bytes(digest)))
        codes = []
        if flags & _CODE_ELSEWHERE:
            (count,) = _COUNT.unpack_from(rest, at)
            at += _COUNT.size
            codes = [bytes(rest[at + n * code.DIGEST :][: code.DIGEST]) for n in range(count)]
            at += count * code.DIGEST
        buffers: list[tuple[int, bytes]] = []
        if flags & _BUFFERS:
            (count,) = _BUFFER_COUNT.unpack_from(rest, at)
            at += _BUFFER_COUNT.size
            end = at + count * _BUFFER.size
            buffers = [_BUFFER.unpack_from(rest, each) for each in range(at, end, _BUFFER.size)]
            at = end
    except struct.error as error:
        raise DamagedError("the blob ends in its header") from error
    except UnicodeDecodeError as error:
        raise DamagedError("the blob names a module that has no name") from error
    if at > len(rest):
        raise DamagedError("the blob ends in its header")
    return Table((minor, magic), modules, codes, buffers, at)


# ------------------------------------------------------------------ arguments


def _keys(key: Key | Iterable[Key] | None) -> tuple[bytes, ...]:
    if key is None:
        return ()
    if type(key) is bytes and key:
        return (key,)
    several: Iterator[Any] = iter([key] if isinstance(key, Key) else key)
    keys = []
    for each in several:
        if not isinstance(each, Key):
            raise TypeError(f"a key must be bytes, not {type(each).__name__}")
        keys.append(bytes(each))
    if not keys or not all(keys):
        raise ValueError("a key must not be empty")
    return tuple(keys)


def _check_file(file: object, method: str) -> None:
    if not hasattr(file, method):
        raise TypeError(
            f"a file must have the method {method}, which {type(file).__name__} has not"
        )


def _check_int(name: str, value: object) -> None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}")
