"""`stackless.features()`: what works on this interpreter and this system."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from typing import NamedTuple

from stackless import _stackless


class Features(NamedTuple):
    """What works here, and what does not, with the reason."""

    #: "CPython 3.14.2", followed by "debug build" if it is one.
    python: str
    #: The system, processor and C library: "Linux x86_64 glibc 2.41".
    platform: str
    #: True if waiting tasklets can be parked; a single tasklet may still have its own obstacle.
    parking: bool
    #: Why they cannot be parked; None if they can.
    why_no_parking: str | None
    #: True if a started tasklet can be pickled.
    pickling: bool
    #: Why it cannot be pickled; None if it can.
    why_no_pickling: str | None
    #: What counts as a tick for `run(timeout)`.
    ticks: str
    #: What protects the ends of C stacks: "MADV_GUARD_INSTALL", or "mprotect" on kernels without
    #: it, where the system allows about 32,000 stacks.
    guards: str


def features() -> Features:
    """Return what works in this process at this time.

    Parking works if the self-test at import has passed and the interpreter evaluates frames by
    itself: a just-in-time compiler, or a frame evaluation function (PEP 523) that another package
    has set, turns it off while it is there. May be called from any thread.
    """
    why_no_parking = _stackless._why_never_parked()
    why_no_pickling = why_no_parking
    if why_no_pickling is None and importlib.util.find_spec("cloudpickle") is None:
        why_no_pickling = "the package cloudpickle is not installed"
    return Features(
        python=" ".join([_implementation(), *(["debug build"] if _is_debug_build() else [])]),
        platform=" ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
        parking=why_no_parking is None,
        why_no_parking=why_no_parking,
        pickling=why_no_pickling is None,
        why_no_pickling=why_no_pickling,
        ticks=f"{_TICKS} ({_TICKS_FROM})",
        guards="MADV_GUARD_INSTALL" if _stackless._guards_are_free() else "mprotect",
    )


_TICKS = "each turn of a loop and each start of a Python function or generator, 5 ticks"
_TICKS_FROM = "sys.settrace" if sys.version_info < (3, 12) else "sys.monitoring"


_ABOUT = "Say what works on this Python and this system. Exit status: 0."


def _implementation() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _is_debug_build() -> bool:
    return hasattr(sys, "gettotalrefcount")


def main(argv: list[str]) -> int:
    """``python -m stackless features``: one line for each field of Features."""
    argparse.ArgumentParser(prog="python -m stackless features", description=_ABOUT).parse_args(
        argv
    )
    for name, value in features()._asdict().items():
        print(f"{name.replace('_', ' '):16}{_word(value)}")
    return 0


def _word(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else value
