"""Every shape of program that can be parked hops to another host at each of its blocks."""

import blocks
import pytest
from stackless import cluster


class Hopping:
    """Looks like a channel to a shape; `receive()` returns how many hops there were."""

    def __init__(self, workers):
        self.workers = workers
        self.hops = 0

    def receive(self):
        if self.workers:
            cluster.go(self.workers[self.hops % len(self.workers)])
            assert cluster.here().name == self.workers[self.hops % len(self.workers)]
        self.hops += 1
        return self.hops - 1

    def __iter__(self):
        return iter(self.receive, None)


#: It loops over the channel itself, which is no Python code.
NOT_HERE = {"iterations"}
SHAPES = [
    pytest.param(name, id=name)
    for name, (_, cold, _) in blocks.SHAPES.items()
    if cold and name not in NOT_HERE
]


def run(name, workers):
    channel = Hopping(workers)
    return blocks.SHAPES[name][0](channel), channel.hops


@pytest.mark.parametrize("name", SHAPES)
def test_it_hops_at_each_block(c, workers, name):
    expected, hops = run(name, [])
    assert c.spawn(run, name, workers, on=workers[-1]).join(60) == (expected, hops)
    assert hops > 0
