"""The talk's pull parser: elements of a 6 MB XML file, with callbacks and several iterators."""

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from harness import OURS, Case
from peers import stackless

sys.path.append(str(Path(__file__).parents[2] / "examples" / "talk"))

from make_xml import ELEMENTS, cached_xml  # noqa: E402  found by the line above

CASE = Case("parser", "pull parser, per element", operations=ELEMENTS, only_on_request=True)


def timed(count: Callable[[str], int], operations: int) -> float:
    file = str(cached_xml())
    start = perf_counter()
    counted = count(file)
    taken = perf_counter() - start
    if counted != operations:
        raise RuntimeError(f"counted {counted} elements instead of {operations}")
    return taken


if stackless is not None:
    from functools import partial

    from pull_parser_table import METHODS

    for name, count in METHODS.items():
        CASE.peer(OURS if "ours" in name else name, "stackless")(partial(timed, count))
