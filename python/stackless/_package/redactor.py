"""Asks the redactor of the program (`stackless.set_redactor`) how a value is to be shown."""

from __future__ import annotations

import sys
import types
from typing import Any

from stackless import _stackless


def redacted(value: Any) -> str | None:
    """Return the redactor's text for a value; None if it has none, or there is no redactor.

    If it raises, or returns something else, that is the type of the value: it is better to show too
    little than what the redactor would have hidden. It cannot switch.
    """
    redactor = _stackless.get_redactor()
    if redactor is None:
        return None
    _stackless.switch_trap(1)
    try:
        text: object = redactor(value)
    except Exception as error:
        _tell(error, redactor)
        text = Ellipsis
    finally:
        _stackless.switch_trap(-1)
    return text if text is None or isinstance(text, str) else f"<{type(value).__name__}>"


def _tell(error: Exception, redactor: Any) -> None:
    what = {"exc_type": type(error), "exc_value": error, "exc_traceback": error.__traceback__}
    sys.unraisablehook(types.SimpleNamespace(**what, err_msg=None, object=redactor))
