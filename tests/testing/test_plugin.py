"""The pytest plugin: tests in tasklets, deadlocks, leaked tasklets, fixtures."""

import os
import subprocess
import sys
import textwrap

import pytest


def run_pytest(folder, test, *, settings="", exits=0):
    (folder / "test_it.py").write_text("import pytest, stackless\n" + textwrap.dedent(test))
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:timeout",
            folder,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == exits, done.stdout + done.stderr
    return done.stdout


def test_marked_tests_run_in_tasklets(tmp_path):
    run_pytest(
        tmp_path,
        """
        @pytest.mark.stackless
        @pytest.mark.parametrize("value", [1])
        def test_marked(value, tmp_path):
            assert not stackless.getcurrent().is_main and value == 1
            assert stackless.getcurrent().name == "test_marked"

        def test_other():
            assert stackless.getcurrent().is_main

        class TestClass:
            @pytest.mark.stackless
            def test_method(self):
                assert not stackless.getcurrent().is_main
        """,
    )


def test_the_setting(tmp_path):
    test = "def test(): assert not stackless.getcurrent().is_main"
    run_pytest(tmp_path, test, settings="stackless = true")
    run_pytest(tmp_path, test, exits=1)


def test_failures_and_skips(tmp_path):
    out = run_pytest(
        tmp_path,
        """
        @pytest.mark.stackless
        def test_fails():
            stackless.sleep(0.001)
            assert 1 == 2

        @pytest.mark.stackless
        def test_skips():
            pytest.skip("not today")
        """,
        exits=1,
    )
    assert "assert 1 == 2" in out and "1 failed, 1 skipped" in out


def test_a_deadlock_fails_at_once(tmp_path):
    out = run_pytest(
        tmp_path,
        """
        @pytest.mark.stackless
        def test_waits():
            jobs = stackless.channel()
            jobs.receive()
        """,
        exits=1,
    )
    assert "Deadlock" in out and "channel 'jobs'" in out


def test_leaked_tasklets_fail(tmp_path):
    out = run_pytest(
        tmp_path,
        """
        def waits():
            stackless.channel().receive()

        @pytest.mark.stackless
        def test_leaks():
            stackless.tasklet(waits)()
            stackless.schedule()

        @pytest.mark.stackless
        def test_daemon():
            stackless.tasklet(waits)().daemon = True

        @pytest.mark.stackless
        def test_after():
            assert stackless.getruncount() == 1
        """,
        exits=1,
    )
    assert "1 failed, 2 passed" in out
    assert "left tasklets" in out and "in waits" in out


def test_fixtures(tmp_path):
    out = run_pytest(
        tmp_path,
        """
        def test_time(virtual_time):
            stackless.sleep(86400)
            assert virtual_time.now == pytest.approx(86400)

        def test_explore(explore):
            explore(lambda: None, runs=2)

        def test_race(explore):
            def program():
                order = []
                stackless.tasklet(order.append)(1)
                stackless.tasklet(order.append)(2)
                stackless.run()
                assert order == [1, 2]

            explore(program, seed=0)
        """,
        exits=1,
    )
    assert "1 failed, 2 passed" in out
    assert "animation in" in out and "test_race.html" in out


def test_the_plugin_is_registered():
    from importlib.metadata import entry_points

    found = [each for each in entry_points(group="pytest11") if each.name == "stackless"]
    assert [each.value for each in found] == ["stackless.testing.plugin"]
    assert found[0].load().__name__ == "stackless.testing.plugin"
    assert pytest.version_tuple >= (7, 4)


def test_settings_of_a_test_end_with_it(tmp_path):
    """Callbacks, the error handler and traps: the next test finds what was before."""
    run_pytest(
        tmp_path,
        """
        def handler(*error): raise AssertionError
        def on_schedule(*both): pass

        @pytest.fixture(scope="module", autouse=True)
        def callback():
            stackless.set_schedule_callback(on_schedule)

        @pytest.mark.stackless
        @pytest.mark.parametrize("number", [1, 2])
        def test_sets(number):
            assert stackless.set_schedule_callback(None) is on_schedule
            assert stackless.set_channel_callback(lambda *all: None) is None
            assert stackless.set_error_handler(handler) is None
            assert stackless.switch_trap(1) == 0
        """,
    )
