"""What holds after each test of this folder."""

import gc

import pytest
import stackless


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No tasklet waits, and no channel has values, that later tests would find."""
    yield
    gc.collect()
    waiting = [info for info in stackless.snapshot() if info.name != "main"]
    assert waiting == []
