"""Under virtual_time() the system's clock is not read: a library that is loaded first counts."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

COUNTS = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <time.h>

    int reads;

    int clock_gettime(clockid_t clock, struct timespec *time)
    {
        static int (*original)(clockid_t, struct timespec *);
        if (!original)
            original = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        reads++;
        return original(clock, time);
    }
"""

PROGRAM = """
    import ctypes
    import time
    import stackless
    from stackless import sync
    from stackless.testing import virtual_time

    reads = ctypes.c_int.in_dll(ctypes.CDLL(None), "reads")

    def month(log):
        for day in range(30):
            stackless.sleep(24 * 60 * 60)
            with stackless.move_on_after(3600):
                sync.Event().wait()
            try:
                stackless.channel().receive(timeout=1800)
            except TimeoutError:
                log.append(time.time())

    def program(log):
        with stackless.TaskGroup() as group:
            for _ in range(10):
                group.start(month, log)

    log = []
    time.monotonic()
    assert reads.value > 0, "the clock is read through another function"
    with virtual_time() as clock:
        program([])
        before = reads.value
        program(log)
        print(reads.value - before, len(log))
    """


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs LD_PRELOAD")
def test_the_clock_is_not_read(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library = tmp_path / "counts.c", tmp_path / "counts.so"
    source.write_text(COUNTS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.stdout.split(), child.stderr) == (["0", "300"], "")
