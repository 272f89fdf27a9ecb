"""How a step is done: tries, back-off, and transactions, which are committed with their record."""

from __future__ import annotations

import datetime
import decimal
import traceback
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import stackless
from stackless.durable import tracing, values
from stackless.durable.calls import step_named
from stackless.durable.records import DurableError, Save, Wanted
from stackless.durable.requests import Call, Driver
from stackless.durable.snapshots import NotDurable
from stackless.durable.waiting import wait_for

if TYPE_CHECKING:
    from stackless.durable.driving import Place

#: Of these, and of tuples of them, neither the step nor the workflow can change one.
_FIXED = frozenset(
    (int, float, complex, bool, str, bytes, type(None), uuid.UUID, decimal.Decimal)
    + (datetime.date, datetime.time, datetime.datetime, datetime.timedelta)
)


def is_fixed(value: Any) -> bool:
    """Return whether a value is known to be immutable."""
    kind = type(value)
    if kind is not tuple:
        return kind in _FIXED
    for each in value:
        if type(each) not in _FIXED and not is_fixed(each):
            return False
    return True


def shares(calls: tuple[Call, ...]) -> bool:
    """Return whether steps might change what variables of their workflow refer to."""
    for _, args, keywords in calls:
        if not is_fixed(args) or (keywords and not is_fixed(tuple(keywords.values()))):
            return True
    return False


class Stuck(Exception):
    """A workflow cannot be loaded or continued; the text says why."""


class Attempt:
    """A step that is done for a workflow. `once` tries it. Stuck if there is no such step."""

    def __init__(
        self,
        place: Place,
        id: str,
        token: int,
        number: int,
        call: Call,
        tries: int = 0,
        began: float | None = None,
    ) -> None:
        name, self._args, self._keywords = call
        self._place, self._id, self._token = place, id, token
        self.number = number
        self.options = step_named(name)
        if self.options.function is None:
            raise Stuck(f"LookupError: there is no step {name}")
        self._function = self.options.function
        if tracing.INSTALLED:
            self._function = tracing.step(self._function, name, id, number, lambda: self.tries)
        self.tries = tries
        self.began = place.store.now() if began is None else began
        self.value: Any = None
        self.error: Exception | None = None
        #: A blob of the value, or of the error. None for None.
        self.data: bytes | None = None
        #: Of a transaction that was committed.
        self.wanted: Wanted | None = None
        #: Returns what is written with a transaction. Is called in the thread that writes.
        self.saved: Callable[[], Save]

    def once(self) -> float | None:
        """Try it. Returns None when it is done, else for how long to wait before the next try."""
        driver = stackless.getcurrent()
        assert isinstance(driver, Driver)
        driver.key = f"{self._id}/{self.number}"
        self.error = None
        try:
            if self.options.in_transaction:
                wait_for(self._place.store.transact(self._id, self._token, self._in_transaction()))
            else:
                self._call()
        finally:
            driver.key = None
        if not self._is_last():
            self.tries += 1
            return max(0.0, self.options.backoff(self.tries))
        if not self.options.in_transaction:
            self._pickle()
        return None

    def _is_last(self) -> bool:
        if self.error is None or isinstance(self.error, NotDurable):
            return True
        return self.tries >= self.options.retries

    def _call(self) -> None:
        try:
            if self.options.timeout is None:
                self.value = self._function(*self._args, **self._keywords)
            else:
                with stackless.timeout(self.options.timeout):
                    self.value = self._function(*self._args, **self._keywords)
        except stackless.TaskletExit as killed:
            if self._place.stopping:
                raise
            self.error = DurableError("the step was killed")
            self.error.__cause__ = killed
        except Exception as error:
            self.error = error

    def _pickle(self) -> None:
        """Make the data. A value that cannot be pickled is an error then."""
        key, name = self._place.keys[0], self.options.name
        if self.error is None:
            try:
                self.data = None if self.value is None else values.dump(self.value, key)
                return
            except Exception as error:
                text = f"the result of the step {name} cannot be pickled"
                self.error = NotDurable(f"{text}: {type(error).__name__}: {error}")
        self.value = None
        stamp(self.error, self._id, self.number)
        self.error, self.data = picklable(self.error, key)

    def error_text(self) -> str | None:
        """Return the text of the error, or None."""
        return text_of(self.error)

    # -------------------------------------------------------------- transactions

    def _in_transaction(self) -> Transact:
        if shares((("", self._args, self._keywords),)):
            key = self._place.keys
            copies = values.load(values.dump((self._args, self._keywords), key[0]), key)
            self._args, self._keywords = copies
        return Transact(self)


class Transact:
    """What the thread that writes does for a transaction."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def call(self, connection: Any) -> None:
        """Call the function."""
        attempt = self._attempt
        attempt.error = None
        attempt.value = attempt._function(connection, *attempt._args, **attempt._keywords)
        attempt._pickle()
        if attempt.error is not None:
            raise attempt.error  # what it has written is undone

    def save(self, error: Exception | None) -> Save | None:
        """Return what is to be written; None if it is tried again."""
        attempt = self._attempt
        if error is not None:
            attempt.error = error
            if not attempt._is_last():
                return None
            attempt._pickle()
        return attempt.saved()

    def written(self, wanted: Wanted) -> None:
        """Take what was asked of the workflow meanwhile."""
        self._attempt.wanted = wanted


# ------------------------------------------------------------------ errors of requests


def text_of(error: BaseException | None) -> str | None:
    """Return the last lines of a traceback, which name the exception."""
    if error is None:
        return None
    return "".join(traceback.format_exception_only(error)).strip()


_MARK = "__stackless_durable_request__"


def stamp(error: BaseException | None, id: str, number: int) -> None:
    """Note in an exception which request of which workflow has raised it."""
    try:
        setattr(error, _MARK, (id, number))
    except Exception:
        pass  # its class does not allow that: then it is not known which step has failed


def origin(error: BaseException, workflow: str) -> int | None:
    """Return the number of the request of a workflow from which an exception comes."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        mark = getattr(each, _MARK, None)
        if isinstance(mark, tuple) and mark[:1] == (workflow,):
            return int(mark[1])
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return None


def picklable(error: BaseException | None, key: bytes) -> tuple[Any, bytes]:
    """Return an exception and its data; NotDurable in its place if it cannot be pickled."""
    assert error is not None
    try:
        return error, values.dump(error, key)
    except Exception as failed:
        text = f"{type(error).__name__}: {error}, which cannot be pickled: {failed}"
        made = NotDurable(text)
        made.__dict__.update({_MARK: getattr(error, _MARK, None)})
        return made, values.dump(made, key)
