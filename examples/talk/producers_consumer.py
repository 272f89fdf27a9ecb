"""Two producers send to one consumer; the channel's preference decides which tasklet continues.

A channel prefers the receiver by default; `--preference` shows the other choices: -1 the receiver,
0 neither (the tasklet that made the call), 1 the sender, all: all other tasklets first.

    python examples/talk/producers_consumer.py [--preference -1|0|1|all]
"""

import argparse
from collections.abc import Iterable

import stackless


def consumer(channel: stackless.channel) -> None:
    print("Starting consumer")
    for item in channel:
        print(repr(item))


def producer1(channel: stackless.channel, items: Iterable[str]) -> None:
    print("Starting producer1")
    for item in items:
        channel.send(item)


def producer2(channel: stackless.channel, items: Iterable[int]) -> None:
    print("Starting producer2")
    channel.send_sequence(items)


def main(preference: str) -> None:
    channel = stackless.channel()
    if preference == "all":
        channel.schedule_all = True
    else:
        channel.preference = int(preference)

    stackless.tasklet(consumer)(channel)
    stackless.tasklet(producer1)(channel, ("A", "B"))
    stackless.tasklet(producer2)(channel, (1, 2, 3))
    stackless.run()
    assert channel.balance == -1  # the consumer still waits: run() does not wait for it


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Producers, a consumer and who goes on.")
    parser.add_argument("--preference", choices=["-1", "0", "1", "all"], default="-1")
    main(parser.parse_args().preference)
