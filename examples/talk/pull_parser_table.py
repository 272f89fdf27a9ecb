"""The times of five ways to count the elements of a 6 MB XML file, and a check that they agree.

The tasklet's iterator is compared with plain callbacks, with a thread and two kinds of queue, and
with the pull parser of the standard library, which is written in C.

    python examples/talk/pull_parser_table.py [--rounds N]
"""

import argparse
import queue
import threading
import time
import xml.etree.ElementTree as ElementTree
import xml.sax
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from make_xml import ELEMENTS, cached_xml
from pull_parser import count_events, count_with_callbacks, count_with_iterparse

END = object()


class PutHandler(ContentHandler):
    """Passes each element to a function that stores it for another thread."""

    def __init__(self, put: Callable[[Any], None]) -> None:
        super().__init__()
        self.put = put

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self.put(("startElement", (name, attrs)))


def parse_in_thread(file: str, put: Callable[[Any], None]) -> None:
    def parse() -> None:
        try:
            xml.sax.parse(file, PutHandler(put))
        finally:
            put(END)

    threading.Thread(target=parse, daemon=True).start()


def iterparse_deque(file: str) -> Iterator[Any]:
    """Read from a thread that appends to a deque under a lock."""
    lock = threading.Lock()
    events: deque[Any] = deque()

    def put(event: Any) -> None:
        with lock:
            events.append(event)

    parse_in_thread(file, put)
    while True:
        with lock:
            event = events.popleft() if events else None
        if event is END:
            return
        if event is None:
            time.sleep(0.001)
        else:
            yield event


def iterparse_queue(file: str) -> Iterator[Any]:
    """Read from a thread through a bounded queue of the standard library."""
    events: queue.Queue[Any] = queue.Queue(1000)
    parse_in_thread(file, events.put)
    yield from iter(events.get, END)


def count_with_deque(file: str) -> int:
    return count_events(iterparse_deque(file))


def count_with_queue(file: str) -> int:
    return count_events(iterparse_queue(file))


def count_with_elementtree(file: str) -> int:
    count = 0
    with open(file, "rb") as source:
        for _event, element in ElementTree.iterparse(source, events=("end",)):
            count += 1
            element.clear()
    return count


METHODS: dict[str, Callable[[str], int]] = {
    "SAX callbacks": count_with_callbacks,
    "tasklet, channel (ours)": count_with_iterparse,
    "thread, lock + deque": count_with_deque,
    "thread, queue.Queue(1000)": count_with_queue,
    "ElementTree.iterparse": count_with_elementtree,
}


def measure(file: str, rounds: int) -> dict[str, float]:
    """Return the best time of each method in seconds; the rounds are interleaved."""
    best = dict.fromkeys(METHODS, float("inf"))
    for _ in range(rounds):
        for name, count in METHODS.items():
            start = time.perf_counter()
            counted = count(file)
            best[name] = min(best[name], time.perf_counter() - start)
            if counted != ELEMENTS:
                raise SystemExit(f"{name} counted {counted} elements instead of {ELEMENTS}")
    return best


def main(rounds: int) -> None:
    file = str(cached_xml())
    best = measure(file, rounds)
    callbacks = best["SAX callbacks"]
    print(f"{ELEMENTS} elements, counted alike by all; best of {rounds}")
    print(f"{'':<26} seconds  x callbacks")
    for name, seconds in best.items():
        print(f"{name:<26} {seconds:7.2f} {seconds / callbacks:12.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare ways to pull elements out of XML.")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="rounds to run (1)")
    main(parser.parse_args().rounds)
