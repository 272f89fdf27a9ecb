"""Parts for programs of other projects: each module says how that program is told to use it.

Nothing here is imported by the rest of the package.
"""

__all__: list[str] = []


def __dir__() -> list[str]:
    return sorted(__all__)
