"""The attributes of the module that are computed on access, per calling thread."""

from __future__ import annotations

import types

from stackless import _stackless
from stackless._package.limits import getthreads


class Module(types.ModuleType):
    """The class of the module ``stackless``."""

    @property
    def current(self) -> _stackless.tasklet:
        """The running tasklet of the calling thread."""
        return _stackless.getcurrent()

    @property
    def main(self) -> _stackless.tasklet:
        """The main tasklet of the calling thread."""
        return _stackless.getmain()

    @property
    def runcount(self) -> int:
        """The number of tasklets in the calling thread's run queue, the running one included."""
        return _stackless.getruncount()

    @property
    def threads(self) -> list[int]:
        """The identities of all threads, the main thread's first."""
        return getthreads()

    @property
    def debug(self) -> bool:
        """True in a debug build of the engine."""
        return _stackless.getdebug()

    @property
    def uncollectables(self) -> list[_stackless.tasklet]:
        """The tasklets that hold a C stack."""
        return _stackless.getuncollectables()

    @property
    def pickle_with_tracing_state(self) -> bool:
        """True if pickles keep a tasklet's trace and profile function: bit 1 of the pickle flags.

        Setting it applies to the calling thread and to threads that begin from now on.
        """
        return bool(_stackless.pickle_flags() & 1)

    @pickle_with_tracing_state.setter
    def pickle_with_tracing_state(self, keep: bool) -> None:
        _stackless.pickle_flags(int(bool(keep)), 1)
        _stackless.pickle_flags_default(int(bool(keep)), 1)

    def __dir__(self) -> list[str]:
        """The public names: those of `__all__`, those computed here, and the public modules."""
        computed = [name for name, value in vars(Module).items() if isinstance(value, property)]
        modules = [
            name
            for name, value in vars(self).items()
            if isinstance(value, types.ModuleType) and not name.startswith("_")
        ]
        return sorted({*self.__all__, *computed, *modules, "TimeoutError", "map", "__version__"})

    def __reduce__(self) -> tuple[object, ...]:
        """The module pickles and copies as itself."""
        import importlib

        return importlib.import_module, (self.__name__,)
