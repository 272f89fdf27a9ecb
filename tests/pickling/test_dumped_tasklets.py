"""Tasklets through `dumps` and `loads`: sizes, other processes, changed sources, sharing."""

import sys
import textwrap
import traceback

import pytest
import stackless
from child_process import assert_child, run_child


def in_another_process(source, blob, *arguments, prints):
    """Run `source`, with the dumped value as `found`, in a process without our functions."""
    source = "import sys, stackless\nfound = stackless.loads(bytes.fromhex(sys.argv[1]))\n" + (
        textwrap.dedent(source)
    )
    assert_child(source, args=[blob.hex(), *arguments], prints=prints)


def dumped_by(program):
    """The value that a program dumps in its own `__main__`, as hexadecimal digits."""
    child = run_child(program)
    assert child.stderr == ""
    return bytes.fromhex(child.stdout)


RUN = """
results, tasklet = found
tasklet.insert()
stackless.run()
print(*results)
"""

# ------------------------------------------------------------------ sizes


def test_a_small_tasklet_is_small():
    """One function, two small locals, blocked in receive: at most 600 bytes with everything."""
    program = textwrap.dedent(
        """
        import stackless, sys
        def work(channel):
            count = 5
            name = "some"
            channel.receive()
            return count, name
        tasklet = stackless.tasklet(work)(stackless.channel())
        stackless.run()
        sys.stdout.write(stackless.dumps(tasklet, key=b"0" * 32).hex())
        """
    )
    at = "/home/somebody/projects/something/program.py"
    assert len(dumped_by(f"exec(compile({program!r}, {at!r}, 'exec'))")) <= 600


def test_a_recursion_of_100_calls_is_small():
    """At most 4 KB."""
    blob = dumped_by(
        """
        import stackless, sys
        def down(n):
            return stackless.schedule_remove() and 0 if n == 0 else n + down(n - 1)
        tasklet = stackless.tasklet(down)(100)
        stackless.run()
        sys.stdout.write(stackless.dumps(tasklet).hex())
        """
    )
    assert len(blob) <= 4096


# ------------------------------------------------------------------ other processes


def test_main_of_another_program_continues():
    """Its functions, globals and classes are included; the other process has none of them."""
    blob = dumped_by(
        """
        import stackless, sys
        factor = 10
        class Step:
            def __init__(self, n): self.n = n
            def scaled(self): return self.n * factor
        def work(results):
            for n in range(4):
                results.append(Step(n).scaled())
                if n == 1:
                    stackless.schedule_remove()
            results.append((lambda x: x + factor)(5))
        results = []
        tasklet = stackless.tasklet(work)(results)
        stackless.run()
        sys.stdout.write(stackless.dumps((results, tasklet)).hex())
        """
    )
    in_another_process(RUN, blob, prints="0 10 20 30 15")


def test_exception_in_flight_continues():
    """In a handler, with its cause and traceback; a bare `raise` finds it."""
    blob = dumped_by(
        """
        import stackless, sys, traceback
        def fail():
            try:
                {}["missing"]
            except KeyError as error:
                raise ValueError("bad") from error
        def work(results):
            try:
                try:
                    fail()
                except ValueError:
                    stackless.schedule_remove()
                    results.append(type(sys.exc_info()[1]).__name__)
                    raise
            except ValueError as error:
                results.append(repr(error.__cause__))
                results.append(traceback.extract_tb(error.__traceback__)[-1].name)
        results = []
        tasklet = stackless.tasklet(work)(results)
        stackless.run()
        sys.stdout.write(stackless.dumps((results, tasklet)).hex())
        """
    )
    in_another_process(RUN, blob, prints="ValueError KeyError('missing') fail")


def test_graph_of_tasklets_and_channels():
    """Two that exchange values over two channels, and generators in between."""
    blob = dumped_by(
        """
        import stackless, sys
        def numbers(n):
            for i in range(n):
                yield i * i
        def ask(questions, answers, results):
            for n in numbers(4):
                questions.send(n)
                results.append(answers.receive())
        def answer(questions, answers):
            for question in questions:
                answers.send(question + 1)
        def wake(channel):
            channel.receive()
        questions, answers, results = stackless.channel(), stackless.channel(), []
        asking = stackless.tasklet(ask)(questions, answers, results)
        stackless.run()
        answering = stackless.tasklet(answer)(questions, answers)
        answering.remove()
        sys.stdout.write(stackless.dumps((results, asking, answering, questions)).hex())
        """
    )
    in_another_process(
        """
        results, asking, answering, questions = found
        assert asking.blocked and questions.balance == 1
        answering.insert()
        stackless.run()
        print(*results, asking.alive)
        answering.kill()
        """,
        blob,
        prints="1 2 5 10 False",
    )


# ------------------------------------------------------------------ changed sources


CHANGING = """
import stackless
def work(results):
    results.append("begun")
    stackless.schedule_remove()
    results.append({word!r})
    helper(results)
def helper(results):
    results.append("helper " + {word!r})
"""


def test_source_changes_while_a_tasklet_is_stored(tmp_path):
    """Refused by name; if allowed, its pending calls run the old code, new calls the new code."""
    file = tmp_path / "changing.py"
    file.write_text(CHANGING.format(word="old"))
    here = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    blob = dumped_by(
        here
        + textwrap.dedent(
            """
            import stackless, changing
            results = []
            tasklet = stackless.tasklet(changing.work)(results)
            stackless.run()
            sys.stdout.write(stackless.dumps((results, tasklet)).hex())
            """
        )
    )
    file.write_text(CHANGING.format(word="new and longer"))
    load = here + "import stackless\ndata = bytes.fromhex(sys.argv[1])\n"
    refused = load + textwrap.dedent(
        """
        try:
            stackless.loads(data)
        except stackless.pickling.SourceError as error:
            print(str(error).split("'")[1])
        """
    )
    assert_child(refused, args=[blob.hex()], prints="changing")
    allowed = load + "found = stackless.loads(data, allow_changed_source=True)" + RUN
    assert_child(allowed, args=[blob.hex()], prints="begun old helper new and longer")


# ------------------------------------------------------------------ sharing


def test_what_a_tasklet_shares_with_the_rest():
    """A lambda in a variable and in a list, a cell in two closures, an exception in two places."""

    def work(functions, errors):
        function = functions[0]
        error = errors[0]
        stackless.schedule_remove()
        functions.append(function is functions[0])
        errors.append(error is errors[0] and error.__cause__ is errors[1])

    count = 0

    def add():
        nonlocal count
        count += 1
        return count

    error = ValueError("x")
    error.__cause__ = KeyError("y")
    functions, errors = [lambda: add(), add], [error, error.__cause__]
    tasklet = stackless.tasklet(work)(functions, errors)
    stackless.run()
    functions, errors, copy = stackless.loads(stackless.dumps((functions, errors, tasklet)))
    copy.insert()
    stackless.run()
    assert functions[2] is True
    assert errors[2] is True
    assert (functions[0](), functions[1](), count) == (1, 2, 0)
    tasklet.kill()


def test_original_continues_undisturbed():
    """Original and copy have the same results."""

    def work(results):
        for n in range(3):
            results.append(n)
            stackless.schedule_remove()

    results = []
    tasklet = stackless.tasklet(work)(results)
    copies = []
    while tasklet.alive:
        stackless.run()
        if tasklet.alive:
            copies.append(stackless.loads(stackless.dumps((results, tasklet))))
            tasklet.insert()
    for found, copy in copies:
        while copy.alive:
            copy.insert()
            stackless.run()
        assert found == results == [0, 1, 2]


def test_current_tasklet_is_refused():
    """The text is that of Stackless."""
    with pytest.raises(RuntimeError, match="You cannot __reduce__ the tasklet which is current."):
        stackless.dumps(stackless.current)


def test_subclasses_stay_what_they_are():
    """Of an importable module, and local ones."""

    class Local(stackless.tasklet):
        pass

    local = Local(lambda: stackless.schedule_remove())()
    stackless.run()
    back = stackless.loads(stackless.dumps(local))
    assert type(back) is Local
    for each in (local, back):
        each.kill()


def test_uncaught_error_of_a_copy_shows_where_it_was():
    """The traceback names file and line."""

    def work():
        stackless.schedule_remove()
        raise KeyError("late")

    tasklet = stackless.tasklet(work)()
    stackless.run()
    copy = stackless.loads(stackless.dumps(tasklet))
    copy.insert()
    with pytest.raises(KeyError) as caught:
        stackless.run()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (__file__, work.__code__.co_firstlineno + 2)
    tasklet.kill()
    assert sys.exc_info() == (None, None, None)
