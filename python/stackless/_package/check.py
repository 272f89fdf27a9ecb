"""Checks at import: error messages for unsupported systems, the self-test, the environment."""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping
from typing import Any

SUPPORTED = "CPython 3.11 to 3.15 (with the GIL) on Linux with glibc, x86-64 and aarch64"


def why_not(error: ImportError) -> str:
    """Return what to do about a compiled module that cannot be imported."""
    running = (
        f"{platform.python_implementation()} {platform.python_version()} "
        f"on {platform.system()} {platform.machine()}{' with musl' if _uses_musl() else ''}"
    )
    if str(error).startswith("stackless "):  # raised by the compiled module itself
        return str(error)
    if not _supported():
        return f"stackless supports {SUPPORTED}; this is {running}"
    return (
        f"stackless has no compiled module for {running}: {error}. "
        "Install the package for this interpreter with `python -m pip install .` in its source "
        "directory (this needs Rust and a C compiler), or run `make build` there to work on it"
    )


def _supported() -> bool:
    return (
        sys.implementation.name == "cpython"
        and (3, 11) <= sys.version_info[:2] <= (3, 15)
        and getattr(sys, "_is_gil_enabled", lambda: True)()
        and sys.platform == "linux"
        and platform.machine() in ("x86_64", "aarch64")
        and not _uses_musl()
    )


def _uses_musl() -> bool:
    return "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE"))


def waits_two_calls_deep(wait: Callable[[str], object], token: str) -> object:
    """The function of the import's self-test: `wait(token)`, with an exception being handled."""
    try:
        raise LookupError(token)
    except LookupError as error:
        answer = _wait(wait, token)
        intact = sys.exception() is error and error.args == (token,)
    return answer if intact and sys.exception() is None else None


def _wait(wait: Callable[[str], object], token: str) -> object:
    kept = [token]
    return [kept, wait(token)][len(kept)]


def limits_from(environ: Mapping[str, str]) -> dict[str, Any]:
    """The stack limits that environment variables set, as arguments of set_stack_limits().

    Raises ValueError for a variable whose value is not a number.
    """
    names: dict[str, tuple[str, Callable[[str], float], str]] = {
        "STACKLESS_STACK_SIZE": ("size", int, "a whole number"),
        "STACKLESS_STACK_COUNT": ("count", int, "a whole number"),
        "STACKLESS_PARK_ABOVE": ("park_above", int, "a whole number"),
        "STACKLESS_PARK_AFTER": ("park_after", float, "a number of seconds"),
    }
    limits = {}
    for variable, (name, convert, kind) in names.items():
        if variable in environ:
            try:
                limits[name] = convert(environ[variable])
            except ValueError:
                raise ValueError(
                    f"the environment variable {variable} must be {kind}, not {environ[variable]!r}"
                ) from None
    return limits
