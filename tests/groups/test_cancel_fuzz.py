"""Random trees of groups, scopes, shields, errors and kills: the engine does as the model does."""

import os
import random

import pytest
import stackless
from cancel_model import Model, Programs, Real

NIGHTLY = bool(os.environ.get("STACKLESS_NIGHTLY"))
BLOCKS, SEEDS = (200, 500) if NIGHTLY else (10, 60)
FIRST = random.randrange(1 << 30) if NIGHTLY else 0


def drive(seed):
    """Run one program in both worlds; compare after each step of the driver."""
    size = 10 + seed % 150
    program = Programs(seed, size).body(0, [])
    choice = random.Random(seed)
    real, model = Real(program), Model(program)
    stackless.run()
    model.run()
    steps = []

    def compare():
        told = f"seed {seed}\n{program}\n{steps}"
        assert real.log == model.log, told
        assert real.waiting() == model.waiting(), told
        assert real.alive() == model.alive(), told

    compare()
    for _ in range(200):
        alive = model.alive()
        if not alive:
            break
        kinds = ["open"] * 15 * bool(model.waiting()) + ["kill"]
        kinds += ["cancel", "expire"] * bool(model.scopes)
        kind = choice.choice(kinds)
        numbers = {"open": model.waiting(), "kill": alive}.get(kind) or sorted(model.scopes)
        number = choice.choice(numbers)
        steps.append((kind, number))
        getattr(real, kind)(number)
        getattr(model, kind)(number)
        compare()
    while real.alive():
        for number in real.waiting():
            if number in real.gates:
                real.open(number)
    return len(steps)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_does_what_the_model_does(block):
    assert sum(drive(FIRST + block * SEEDS + i) for i in range(SEEDS)) > SEEDS
