"""Objects that pickle writes by name, reduced by value where another process has no such name.

Functions with a cache, `NewType`, type parameters, `type` aliases and sentinels are found by a name
in a module, and pickle writes only that name. Those of `__main__`, and those that are not found in
a module, are pickled by value. A cache is empty afterwards.
"""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Callable
from typing import Any

Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


def made_in(
    module: str, kind: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Call `kind(*arguments, **keywords)` as from a module: these types look at their caller."""
    names = {"__name__": module, "kind": kind, "arguments": arguments, "keywords": keywords}
    return eval("kind(*arguments, **keywords)", names)


def _in_its_module(value: Any, *arguments: Any, **keywords: Any) -> Reduced:
    return made_in, (value.__module__, type(value), arguments, keywords)


# ------------------------------------------------------------------ caches

_Cache: type = type(functools.lru_cache(lambda: None))
_OF_WRAPPER = frozenset((*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "cache_parameters"))


def reduce_cache(wrapper: Any) -> Reduced:
    """Reduce a function with `functools.lru_cache`."""
    parameters = wrapper.cache_parameters()
    attributes = {name: each for name, each in vars(wrapper).items() if name not in _OF_WRAPPER}
    return cache, (wrapper.__wrapped__, parameters["maxsize"], parameters["typed"], attributes)


def cache(
    function: Callable[..., Any], maxsize: int | None, typed: bool, attributes: dict[str, Any]
) -> Any:
    """Return the function with an empty cache."""
    made = functools.lru_cache(maxsize, typed)(function)
    vars(made).update(attributes)
    return made


def reduce_cached_property(value: Any) -> Reduced:
    """Reduce a `functools.cached_property`, which has a lock up to Python 3.11."""
    return cached_property, (value.func, value.attrname)


def cached_property(function: Any, name: str | None) -> functools.cached_property[Any]:
    """Return a cached property of that name."""
    made: functools.cached_property[Any] = functools.cached_property(function)
    made.attrname = name
    return made


def reduce_partial_method(value: Any) -> Reduced:
    """Reduce a `functools.partialmethod`, which Python 3.14 does not make without its function."""
    return partial_method, (value.func, value.args, value.keywords)


def partial_method(
    function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> functools.partialmethod[Any]:
    """Return a partial method."""
    return functools.partialmethod(function, *arguments, **keywords)


# ------------------------------------------------------------------ types


def reduce_new_type(value: Any) -> Reduced:
    """Reduce a `typing.NewType`."""
    return _in_its_module(value, value.__qualname__, value.__supertype__)


def _default(value: Any) -> dict[str, Any]:
    default = getattr(value, "__default__", None)
    return {} if default is getattr(typing, "NoDefault", None) else {"default": default}


def reduce_param_spec(value: Any) -> Reduced:
    """Reduce a `typing.ParamSpec`."""
    names = ("bound", "covariant", "contravariant", "infer_variance")
    given = {name: getattr(value, f"__{name}__", None) for name in names}
    keywords = {name: each for name, each in given.items() if each}
    return _in_its_module(value, value.__name__, **keywords, **_default(value))


def reduce_type_var_tuple(value: Any) -> Reduced:
    """Reduce a `typing.TypeVarTuple`."""
    return _in_its_module(value, value.__name__, **_default(value))


def reduce_alias(value: Any) -> Reduced:
    """Reduce a `type` alias, whose value is evaluated for that."""
    return _in_its_module(value, value.__name__, value.__value__, type_params=value.__type_params__)


def reduce_sentinel(value: Any) -> Reduced:
    """Reduce a `sentinel`."""
    keywords = {} if repr(value) == value.__name__ else {"repr": repr(value)}
    return _in_its_module(value, value.__name__, **keywords)


def reduce_args(value: Any) -> Reduced:
    """Reduce the `args` of a ParamSpec."""
    return getattr, (value.__origin__, "args")


def reduce_kwargs(value: Any) -> Reduced:
    """Reduce the `kwargs` of a ParamSpec."""
    return getattr, (value.__origin__, "kwargs")


#: The type of `type` aliases; None before Python 3.12.
ALIAS: type | None = getattr(typing, "TypeAliasType", None)

#: Reducers of objects whose name another process may not have.
BY_VALUE: dict[type, Callable[[Any], Reduced]] = {
    _Cache: reduce_cache,
    typing.NewType: reduce_new_type,
    typing.ParamSpec: reduce_param_spec,
    typing.TypeVarTuple: reduce_type_var_tuple,
}
if ALIAS is not None:
    BY_VALUE[ALIAS] = reduce_alias
if sys.version_info >= (3, 15):
    BY_VALUE[sentinel] = reduce_sentinel  # noqa: F821

#: Reducers of objects that pickle does not support, or cannot restore.
USUAL: dict[type, Callable[[Any], Reduced]] = {
    functools.partialmethod: reduce_partial_method,
    typing.ParamSpecArgs: reduce_args,
    typing.ParamSpecKwargs: reduce_kwargs,
}
if sys.version_info < (3, 12):
    USUAL[functools.cached_property] = reduce_cached_property
