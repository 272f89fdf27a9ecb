"""The note of deadlock errors, which tracebacks show after the standard text."""

import traceback

import stackless
from child_process import assert_child, in_child_process
from stackless import channel, tasklet

DEADLOCK = "Deadlock: the last runnable tasklet cannot be blocked."


def note_of(function, *arguments):
    """The note of the deadlock error, whose text is the standard one."""
    try:
        function(*arguments)
    except RuntimeError as error:
        assert str(error) == DEADLOCK and error.args == (DEADLOCK,)
        (note,) = error.__notes__
        shown = "".join(traceback.format_exception(error))
        assert shown.index(DEADLOCK) < shown.index(note)
        return note
    raise AssertionError("no deadlock")


def here(function, offset):
    return f"{__file__}:{function.__code__.co_firstlineno + offset} in {function.__qualname__}"


def lonely(wanted):
    wanted.receive()


@in_child_process
def test_which_tasklet_waits_where():
    """The tasklet that got the error: its channel and its line."""
    ch = channel()
    note = note_of(lonely, ch)
    assert "main wants to receive from channel 'wanted'" in note
    assert f"at {id(ch):#x} (balance 0), {here(lonely, 1)}" in note
    assert "'wanted': nothing else, as far as can be seen" in note
    assert "A cycle" not in note
    assert "main wants to send to channel" in note_of(ch.send, 1)


def first(x, y):
    x.receive()
    y.send(1)


def second(x, y):
    y.receive()
    x.send(1)


@in_child_process
def test_a_cycle():
    """Each waits for a value that the next one could send."""
    x, y = channel(), channel()
    tasklet(first)(x, y)
    tasklet(second)(x, y)
    stackless.run()
    note = note_of(lonely, channel())
    assert "waits to receive from channel 'x'" in note and here(first, 1) in note
    assert "waits to receive from channel 'y'" in note and here(second, 1) in note
    circle = note[note.index("A cycle: ") :]
    assert "'first' receives from 'x', referred to by tasklet" in circle
    assert "'second' receives from 'y', referred to by tasklet" in circle
    assert "main" not in circle


class Pool:
    def __init__(self):
        self.jobs = channel()
        self.done = channel()

    def work(self):
        while True:
            self.done.send(self.jobs.receive())


@in_child_process
def test_channels_inside_objects():
    """A worker that waits for a job refers to the channel that main waits on, through self."""
    pool = Pool()
    for _ in range(30):
        tasklet(pool.work)()
    stackless.run()
    note = note_of(pool.done.receive)
    assert "30 tasklets 'Pool.work' wait to receive from channel" in note
    assert "30 tasklets 'Pool.work', which receives from" in note
    assert "A cycle: main receives from" in note


def paused_one(ch):
    stackless.schedule_remove()
    ch.send(1)


def never_begun(ch):
    ch.send(1)


@in_child_process
def test_those_that_could_help_but_do_not():
    """Paused tasklets, and ones that were never started."""
    wanted = channel()
    sleepers = [tasklet(paused_one)(wanted)]
    stackless.run()
    sleepers.append(tasklet(never_begun, (wanted,)))
    note = note_of(lonely, wanted)
    assert "'paused_one', which is paused; tasklet " in note
    assert "'never_begun', which was not started" in note
    assert len(sleepers) == 2


@in_child_process
def test_after_all_others_have_ended():
    """The texts for a receiving and a sending main have the note as well."""
    wanted = channel()
    for way, text in [
        (wanted.receive, "the main tasklet is receiving without a sender available."),
        (lambda: wanted.send(1), "the main tasklet is sending without a receiver available."),
    ]:
        tasklet(len)([])
        try:
            way()
        except RuntimeError as error:
            assert str(error) == text
            assert "main waits to" in error.__notes__[0]
        else:
            raise AssertionError("no deadlock")
    assert wanted.balance == 0


@in_child_process
def test_leaving_the_queue():
    """schedule_remove() of the last tasklet, where main waits for it."""
    notes = []

    def leaves():
        notes.append(note_of(stackless.schedule_remove))
        answers.send(1)

    answers = channel()
    tasklet(leaves)()
    answers.receive()
    assert "'" + leaves.__name__ + "' wants to leave the run queue" in notes[0]
    assert "main waits to receive from channel 'answers'" in notes[0]


@in_child_process
def test_many_tasklets_make_no_long_note():
    """The length is limited, whatever the number of tasklets."""
    kept = []
    for number in range(2000):
        scope = {"stackless": stackless}
        exec(f"def f{number}(ch): ch.receive()", scope)
        kept.append(channel())
        tasklet(scope[f"f{number}"])(kept[-1])
    stackless.run()
    note = note_of(lonely, channel())
    assert len(note) < 6000 and "main wants to receive" in note
    assert "more like these" in note and "Only 300 tasklets were looked at" in note


@in_child_process
def test_values_are_not_looked_at():
    """No repr, no attribute, no comparison of any object."""

    class Unspeakable:
        def __repr__(self):
            raise AssertionError("it was asked")

        __str__ = __hash__ = __eq__ = __getattr__ = __bool__ = __len__ = __repr__

    def holds(value, ch):
        mine = [value, {"value": value}, (value,)]
        ch.receive()
        return mine

    tasklet(holds)(Unspeakable(), channel())
    stackless.run()
    assert "Unspeakable" not in note_of(lonely, channel())


def test_uncaught_it_is_printed_behind_the_text():
    """Tracebacks print it as they print notes."""
    assert_child(
        "import stackless\nstackless.channel().receive()",
        exits=1,
        complains=f"RuntimeError: {DEADLOCK}\nWaiting tasklets:\n"
        "  main wants to receive from channel",
    )
