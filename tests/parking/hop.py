"""A process in which tasklets run from one block to the next.

    python hop.py start|go FILE warm|cold

makes them, or takes them from the file and sends them a number; then it writes them to the file.

The file contains {name of a shape: (channel, tasklet, results)}, and the number of hops.
"""

import pickle
import sys

import stackless
from blocks import SHAPES

WARM = 20


def run(shape, channel, results):
    results.append(shape(channel))


def begin(shape):
    channel, results = stackless.channel(), []
    tasklet = stackless.tasklet(run)(shape, channel, results)
    stackless.run()
    return channel, tasklet, results


def undisturbed(shape):
    """The return value of a shape, and how often it waits."""
    channel, tasklet, results = begin(shape)
    hops = 0
    while tasklet.alive:
        channel.send(hops)
        hops += 1
    return results[0], hops


def promised(warm):
    """The shapes whose blocks can all be parked on this Python."""
    return {name: shape for name, (shape, cold, hot) in SHAPES.items() if (hot if warm else cold)}


def warm_up(shapes):
    for shape in shapes.values():
        for _ in range(WARM):
            undisturbed(shape)


def main(what, file, warmth):
    shapes = promised(warmth == "warm")
    if warmth == "warm":
        warm_up(shapes)
    if what == "start":
        hops, all_ = 0, {name: begin(shape) for name, shape in shapes.items()}
    else:
        with open(file, "rb") as source:
            hops, all_ = pickle.load(source)
        for channel, tasklet, _ in all_.values():
            if tasklet.alive:
                channel.send(hops)
        hops += 1
    for name, (_, tasklet, _) in all_.items():
        reason = stackless._stackless._why_not_parked(tasklet)
        assert reason is None, f"{name}, block {hops}: {reason}"
    with open(file, "wb") as target:
        pickle.dump((hops, all_), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
