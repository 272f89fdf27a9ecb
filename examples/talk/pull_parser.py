"""Turn a parser with callbacks into an iterator, without a thread and without rewriting it.

The SAX parser runs in a tasklet whose handler sends each element into a channel; the switch happens
inside the C parser's callback, and the reader is an ordinary `for` loop.

    python examples/talk/pull_parser.py [FILE]
"""

import argparse
import sys
import xml.sax
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import stackless
from make_xml import cached_xml

Event = tuple[str, tuple[str, AttributesImpl]]


class ChannelHandler(ContentHandler):
    """Sends each element that the parser finds into a channel."""

    def __init__(self, events: stackless.channel) -> None:
        super().__init__()
        self.events = events

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self.events.send(("startElement", (name, attrs)))


def parse_into(events: stackless.channel, file: str) -> None:
    """Parse the file, and end the iteration of the reader of the events, with an error if any."""
    try:
        xml.sax.parse(file, ChannelHandler(events))
    except Exception:
        events.send_throw(*sys.exc_info())
    else:
        events.send_exception(StopIteration)


def iterparse(file: str) -> Iterator[Event]:
    """Iterate over the elements of an XML file; the reader may stop at any time."""
    events = stackless.channel()
    parser = stackless.tasklet(parse_into)(events, file)
    try:
        yield from events
    finally:
        parser.kill()


class CountingHandler(ContentHandler):
    """Counts elements with callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self.count += 1


def count_with_callbacks(file: str) -> int:
    handler = CountingHandler()
    xml.sax.parse(file, handler)
    return handler.count


def count_events(events: Iterable[object]) -> int:
    count = 0
    for _ in events:
        count += 1
    return count


def count_with_iterparse(file: str) -> int:
    return count_events(iterparse(file))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Count the elements of an XML file twice.")
    parser.add_argument("file", nargs="?", type=Path, help="default: a file of 220,523 elements")
    file = str(parser.parse_args().file or cached_xml())
    print(f"callbacks: {count_with_callbacks(file)} elements")
    print(f"iterparse: {count_with_iterparse(file)} elements")
