"""psycopg 3 and psycopg2, which wait in C code, and are told by `stackless.monkey` how to wait."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import sys, threading, time
    {before}
    import stackless
    from stackless import monkey
    monkey.patch_all()
    {after}

    def connect():
        return {driver}.connect(host="127.0.0.1", port={port}, user="postgres")

    def sleeps(number):
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("select %s::int from pg_sleep(0.3)", (number,))
        result = cursor.fetchone()[0]
        cursor.execute("create temp table t (n int)")
        cursor.executemany("insert into t values (%s)", [(n,) for n in range(10)])
        cursor.execute("select sum(n) from t")
        total = cursor.fetchone()[0]
        try:
            cursor.execute("select no_such_column")
        except {driver}.Error as error:
            assert "no_such_column" in str(error)
        connection.rollback()
        connection.close()
        return result, total

    ticks = []
    def tick():
        while True:
            ticks.append(1)
            stackless.sleep(0.005)
    stackless.tasklet(tick)().daemon = True
    before = time.monotonic()
    tasklets = [stackless.run_tasklet(sleeps, n) for n in range(20)]
    assert [each.join() for each in tasklets] == [(n, 45) for n in range(20)]
    assert time.monotonic() - before < 20 * 0.3 / 2, time.monotonic() - before
    assert len(ticks) > 10

    # In an OS thread without tasklets, and without patches.
    results = []
    def in_thread():
        results.append(sleeps(1))
    thread = threading.Thread(target=in_thread)
    thread.start()
    stackless.run_tasklet(thread.join).join()
    assert results == [(1, 45)]
    monkey.unpatch_all()
    assert sleeps(2) == (2, 45)
    if "psycopg2" in sys.modules:
        assert psycopg2.extensions.get_wait_callback() is None
    else:
        assert not hasattr(psycopg.waiting.wait, "_stackless_standard")
    print("end")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_queries_of_many_tasklets(postgresql_port, driver, when):
    """Imported before or after the patches: the time is far less than the sum of the waits."""
    pytest.importorskip(driver)
    program = PROGRAM.format(
        driver=driver,
        port=postgresql_port,
        before=f"import {driver}" if when == "before" else "",
        after=f"import {driver}" if when == "after" else "",
    )
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "end\n", "")
