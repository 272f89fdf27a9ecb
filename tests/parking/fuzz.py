"""Random programs, parked, pickled and copied at random blocks, compared with undisturbed runs.

python fuzz.py PARKS [SEED]    prints what it did as JSON; the seed of a program that differs is in
                               the AssertionError
"""

import collections
import gc
import json
import pickle
import random
import sys
import types
import warnings

import programs
import stackless
from stackless.pickling import code as loaded_code

MOST_BLOCKS = 100


def module_of(seed):
    """The program as a module that pickles can find."""
    name = "program"
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(programs.source(seed), f"<program {seed}>", "exec"), module.__dict__)
    return module


def begin(module):
    channel, log = stackless.channel(), []
    tasklet = stackless.tasklet(module.run)(channel, log)
    stackless.run()
    return channel, tasklet, log


def advance(channel, tasklet, number):
    if number < MOST_BLOCKS:
        channel.send(number)
    elif number == MOST_BLOCKS:
        tasklet.kill()
    else:
        # The finally blocks of these programs wait as well.
        channel.send_exception(stackless.TaskletExit)


def undisturbed(module):
    channel, tasklet, log = begin(module)
    number = 0
    while tasklet.alive:
        advance(channel, tasklet, number)
        number += 1
    return log


def disturbed(module, chance, counts):
    state = begin(module)
    number = 0
    while state[1].alive:
        state = disturb(state, chance, counts)
        advance(state[0], state[1], number)
        number += 1
    return state[2]


def disturb(state, chance, counts):
    tasklet = state[1]
    act = chance.randrange(5)
    if not act:
        return state
    if not tasklet.restorable:
        counts["unparkable"] += 1
        return state
    counts["parks"] += 1
    stackless._stackless._park(tasklet)
    if act <= 2:
        return state
    counts["hops"] += 1
    if act == 3:
        moved = pickle.loads(pickle.dumps(state, chance.choice([2, 3, 4, 5])))
    else:
        moved = stackless.loads(stackless.dumps(state))
    if chance.randrange(3) == 0:
        # The original continues, the copy is dropped.
        state, moved = moved, state
    forget(state)
    return moved


def forget(state):
    """Drops the frames of a copy that is not used."""
    channel, tasklet, _ = state
    assert channel.balance == -1 and tasklet.blocked
    tasklet.throw(stackless.TaskletExit, pending=True)
    tasklet.remove()
    tasklet.bind(None)
    assert channel.balance == 0 and not tasklet.alive


def check(seed, counts):
    """Run a program undisturbed, and then disturbed, cold and hot."""
    gc.collect()  # objects dropped before may wait when they are collected: not in the next program
    wanted = undisturbed(module_of(seed))
    module, chance = module_of(seed), random.Random(seed)
    for _ in range(3):
        found = disturbed(module, chance, counts)
        assert found == wanted, f"program {seed} differs"
    counts["programs"] += 1


def clear_cache():
    """CPython's cache of attributes holds a reference to the name of each attribute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys._clear_type_cache()


def main(parks, first=0):
    stackless.enable_leak_reports(False)
    # Generators that copies leave behind are closed, and may try to wait then.
    sys.unraisablehook = lambda what: None
    counts = collections.Counter()
    seed = first
    while counts["parks"] < parks:
        check(seed, counts)
        seed += 1
    totals = []
    if hasattr(sys, "gettotalrefcount"):
        for _ in range(4):
            for again in range(first, first + 40):
                check(again, counts)
            gc.collect()
            clear_cache()
            loaded_code._loaded.clear()  # it is bounded, and emptied when it is full
            gc.collect()
            totals.append(sys.gettotalrefcount())
    print(json.dumps({**counts, "first": first, "last": seed - 1, "references": totals}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
