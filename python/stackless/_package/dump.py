"""`stackless.dump`, two functions of one name: a text about all tasklets, and `pickle`'s dump."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import IO, Any, overload

from stackless import explain, pickling
from stackless.pickling.blob import Key, Writable


@overload
def dump(file: IO[str] | None = None) -> None: ...
@overload
def dump(
    obj: object,
    file: Writable,
    /,
    *,
    protocol: int | None = None,
    key: Key | None = None,
    code_store: MutableMapping[bytes, bytes] | None = None,
    same_program: bool = False,
) -> None: ...
def dump(*arguments: Any, **options: Any) -> None:
    """dump(file=None): write what all tasklets do, as text. dump(obj, file): pickle an object.

    With one argument or none it is stackless.explain.dump: it writes every tasklet of every thread
    with its stack, as text. With two arguments it writes the blob that `stackless.dumps(obj)`
    returns to a file open for binary writing, for `stackless.load`; the options are those of
    `dumps`.
    """
    if len(arguments) > 1:
        pickling.dump(*arguments, **options)
    else:
        explain.dump(*arguments, **options)
