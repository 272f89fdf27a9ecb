"""Damaged, truncated, spliced and foreign blobs: refused, and never a crash."""

import contextlib
import io
import os
import pickle
import random
import resource
import sys
import warnings

import mutations
import pytest
import stackless
from child_process import in_child_process

LONG = bool(os.environ.get("STACKLESS_NIGHTLY"))
ROUNDS = 1_000_000 if LONG else 100_000
SEALED_ROUNDS = 500_000 if LONG else 20_000


def seed_of(name):
    seed = int(os.environ.get("STACKLESS_SEED", 0)) or random.SystemRandom().randrange(1 << 32)
    print(f"{name}: STACKLESS_SEED={seed}", file=sys.stdout)
    return seed


@pytest.mark.timeout(300)
@in_child_process
def test_damaged_blobs_are_refused():
    """100,000 of them, by `loads` and `load`: UnpicklingError each time, and nothing is loaded."""
    chance = random.Random(seed_of("damage"))
    warnings.simplefilter("ignore")  # coroutines that are never awaited
    blobs = list(mutations.blobs())
    for number in range(ROUNDS):
        original, options = chance.choice(blobs)
        if number % 10 == 0:
            data = mutations.foreign(chance)
        else:
            data = mutations.damage(chance, original, chance.choice(blobs)[0])
        if data == original:
            continue
        if data in (each for each, _ in blobs):
            options = {"key": b"another"}  # splicing made a whole blob, which has another key
        with contextlib.suppress(pickle.UnpicklingError):
            stackless.loads(data, **options)
            raise AssertionError(f"round {number} was loaded: {data.hex()}")
        if number % 10 == 1:
            with contextlib.suppress(pickle.UnpicklingError, EOFError):
                stackless.load(mutations.written(data), **options)
                # Bytes after a whole blob are not read.
                assert data.startswith(original), data.hex()


@pytest.mark.timeout(300)
@in_child_process
def test_damage_under_a_right_checksum_does_not_crash():
    """It is unpickled, which may raise any exception."""
    chance = random.Random(seed_of("sealed"))
    limit_memory(2 << 30)
    warnings.simplefilter("ignore")
    # What is left of damaged tasklets cleans up when the interpreter exits, and may fail there.
    sys.unraisablehook = lambda _: None
    rests = [mutations.contents(data) for data, options in mutations.blobs() if not options]
    loaded = 0
    # Python complains there when a damaged pickle asks for a bytearray of a wrong size.
    with contextlib.redirect_stderr(io.StringIO()):
        for _ in range(SEALED_ROUNDS):
            rest = mutations.damage(chance, chance.choice(rests), chance.choice(rests))
            with contextlib.suppress(Exception):
                back = stackless.loads(mutations.sealed(rest))
                loaded += 1
                if isinstance(back, stackless.tasklet):
                    back.kill()
    assert loaded > 0


def limit_memory(room):
    """Damaged pickles may ask for any number of bytes: they get a MemoryError."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
