"""The packed form of tasklets in blobs, and what is kept from one blob to the next."""

import copyreg
import gc
import io
import pickle
import sys
import threading
import types

import cloudpickle
import helper_module
import pytest
import stackless
from child_process import assert_child
from paused_tasklets import finish, paused
from stackless.pickling import blob, code, pickler, register, unregister
from stackless.pickling.facts import facts, known


def down(n, results):
    if n == 0:
        stackless.schedule_remove()
    else:
        down(n - 1, results)
    results.append(n)


# ------------------------------------------------------------------ formats


class OfFormatOne(pickler.Pickler):
    """Writes tasklets as releases did that wrote blobs of format 1."""

    def reducer_override(self, obj):
        if isinstance(obj, stackless.tasklet):
            return NotImplemented
        return super().reducer_override(obj)


def test_blobs_of_the_format_before_are_loaded():
    """They say so in their header, and hold a stand-in for each frame."""
    results = []
    tasklet = paused(down, 3, results)
    file = io.BytesIO()
    OfFormatOne(file).dump((tasklet, results))
    rest = blob._python_and_modules(()) + file.getvalue()
    head = blob._HEAD.pack(blob.MAGIC, 1, 0, len(rest))
    copy, copied = stackless.loads(head + blob._seal(head, rest) + rest)
    finish(copy)
    assert copied == [0, 1, 2, 3]
    assert stackless.dumps((tasklet, results))[4] == 2


def test_the_packed_form_has_no_stand_ins_for_frames():
    data = stackless.dumps(paused(down, 3, []))
    assert b"of_function" not in data and b"Frame" not in data


# ------------------------------------------------------------------ sharing


def test_frames_share_what_they_shared():
    shared, results = [], []
    tasklet = paused(down, 3, results)
    copies = stackless.loads(stackless.dumps([tasklet, tasklet, results, shared]))
    assert copies[0] is copies[1]
    finish(copies[0])
    assert copies[2] == [0, 1, 2, 3] and results == []


def test_a_frame_that_refers_to_its_tasklet():
    def work(box):
        box.append(stackless.getcurrent())
        stackless.schedule_remove()
        box.append(box[0] is stackless.getcurrent())

    box = []
    tasklet = paused(work, box)
    copy, copied = stackless.loads(stackless.dumps((tasklet, box)))
    assert copied[0] is copy
    finish(copy)
    assert copied[1] is True


def test_code_is_shared_by_frames_and_by_the_function():
    tasklet = paused(lambda: [stackless.schedule_remove() for _ in "ab"])
    copy = stackless.loads(stackless.dumps(tasklet))
    frame = copy.frame
    while frame.f_back is not None:
        frame = frame.f_back
    assert frame.f_code is stackless.loads(stackless.dumps(frame.f_code))
    finish(copy)


def test_an_equal_code_of_a_function_found_by_name_is_replaced_by_it():
    """So that the frame has the very code of its function."""
    tasklet = paused(down, 1, [])
    copy = stackless.loads(stackless.dumps(tasklet))
    assert copy.frame.f_code is down.__code__


# ------------------------------------------------------------------ nothing is stale


def test_a_name_that_is_bound_again_between_two_dumps(monkeypatch):
    """It is looked up each time."""
    counter = helper_module.count
    assert stackless.loads(stackless.dumps(counter)) is counter
    monkeypatch.setattr(helper_module, "count", lambda: "another")
    copy = stackless.loads(stackless.dumps(counter))
    assert copy is not counter and copy.__code__ == counter.__code__
    monkeypatch.undo()
    assert stackless.loads(stackless.dumps(counter)) is counter


def test_a_global_that_changes_between_two_dumps():
    names = {"__name__": "nowhere", "factor": 2}
    exec("def scaled(n): return n * factor", names)
    assert stackless.loads(stackless.dumps(names["scaled"]))(3) == 6
    names["factor"] = 5
    assert stackless.loads(stackless.dumps(names["scaled"]))(3) == 15
    del names["factor"]
    with pytest.raises(NameError):
        stackless.loads(stackless.dumps(names["scaled"]))(3)


class Point:
    def __init__(self, x):
        self.x = x


def test_a_reducer_that_is_registered_and_removed_between_two_dumps():
    assert stackless.loads(stackless.dumps(Point(1))).x == 1
    register(Point, lambda point: point.x, lambda x: Point(x * 10))
    assert stackless.loads(stackless.dumps(Point(1))).x == 10
    unregister(Point)
    assert stackless.loads(stackless.dumps(Point(1))).x == 1


def test_a_reducer_that_was_registered_before_the_first_dumps_and_is_removed():
    assert_child(
        """
        import fractions, stackless
        from stackless.pickling import register, unregister
        value = fractions.Fraction(1, 2)
        register(fractions.Fraction, str, len)
        print(stackless.loads(stackless.dumps(value)))
        unregister(fractions.Fraction)
        print(stackless.loads(stackless.dumps(value)))
        """,
        prints="3 1/2",
    )


def test_a_reducer_for_code_of_another_library():
    copyreg.pickle(types.CodeType, lambda each: (str, (each.co_name,)))
    try:
        assert stackless.loads(stackless.dumps(down.__code__)) == "down"
    finally:
        copyreg.pickle(types.CodeType, code.reduce)
    assert stackless.loads(stackless.dumps(down.__code__)) == down.__code__


def test_a_module_that_cloudpickle_is_told_to_send_by_value():
    assert stackless.loads(stackless.dumps(helper_module.count)) is helper_module.count
    cloudpickle.register_pickle_by_value(helper_module)
    try:
        assert stackless.loads(stackless.dumps(helper_module.count)) is not helper_module.count
    finally:
        cloudpickle.unregister_pickle_by_value(helper_module)
    assert stackless.loads(stackless.dumps(helper_module.count)) is helper_module.count


def test_the_flags_of_a_tasklet_are_read_each_time():
    tasklet = paused(down, 1, [])
    assert not stackless.loads(stackless.dumps(tasklet)).block_trap
    tasklet.block_trap = True
    assert stackless.loads(stackless.dumps(tasklet)).block_trap


# ------------------------------------------------------------------ what is kept


def test_facts_go_with_their_code():
    space = {}
    exec("def f(): return len", space)
    number = id(space["f"].__code__)
    assert facts(space["f"].__code__).names(space["f"].__code__) == ("len",)
    assert number in known
    space.clear()
    gc.collect()
    assert number not in known


def test_loaded_code_is_kept_within_bounds():
    """One entry for each code object, emptied when it is full."""
    small = compile("1", "small", "eval")
    data = code.reduce(small)[1][0]
    assert code.load(data) is code.load(data)
    for number in range(2 * code._MOST_LOADED):
        code.load(code.reduce(compile(str(number), "many", "eval"))[1][0])
        assert len(code._loaded) <= code._MOST_LOADED
    large = compile(repr("x" * code._KEPT_SIZE), "large", "eval")
    data = code.reduce(large)[1][0]
    assert code.load(data) == large and data not in code._loaded


def test_damaged_code_is_refused_although_the_whole_one_is_known():
    data = code.reduce(compile("7", "known", "eval"))[1][0]
    code.load(data)
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    for _ in range(2):
        with pytest.raises(pickle.UnpicklingError):
            code.load(damaged)
    with pytest.raises(pickle.UnpicklingError):
        code.load(bytearray(data))


# ------------------------------------------------------------------ subclasses


class OwnReduce(stackless.tasklet):
    def __reduce__(self):
        return str, ("reduced by its class",)


class OwnState(stackless.tasklet):
    states = ()

    def __setstate__(self, state):
        OwnState.states = (*OwnState.states, len(state))
        return super().__setstate__(state)


class Plain(stackless.tasklet):
    pass


def test_subclasses_with_their_own_methods_get_what_they_know():
    def start(kind):
        tasklet = kind(down)(1, [])
        stackless.run()
        return tasklet

    assert stackless.loads(stackless.dumps(start(OwnReduce))) == "reduced by its class"
    copy = stackless.loads(stackless.dumps(start(OwnState)))
    assert OwnState.states == (8,) and type(copy) is OwnState
    finish(copy)
    copy = stackless.loads(stackless.dumps(start(Plain)))
    assert type(copy) is Plain
    finish(copy)
    copyreg.pickle(Plain, lambda _: (str, ("registered",)))
    try:
        assert stackless.loads(stackless.dumps(start(Plain))) == "registered"
    finally:
        del copyreg.dispatch_table[Plain]


# ------------------------------------------------------------------ reducers that do other things


class Busy:
    """Its reducer pickles the tasklet that holds it, runs tasklets, collects garbage."""

    depth = 0
    tasklet = None

    def __reduce__(self):
        gc.collect()
        ran = []
        stackless.tasklet(ran.append)(1)
        stackless.schedule()
        assert ran == [1]
        if Busy.depth < 3:
            Busy.depth += 1
            assert stackless.loads(stackless.dumps(Busy.tasklet)).paused
        return Busy, ()


class Fails:
    def __reduce__(self):
        raise ZeroDivisionError("not now")


def hold(thing, results):
    down(2, results)
    results.append(type(thing).__name__)


def test_reducers_that_pickle_again_switch_and_collect():
    results = []
    Busy.tasklet = paused(hold, Busy(), results)
    copy, copied = stackless.loads(stackless.dumps((Busy.tasklet, results)))
    assert Busy.depth == 3
    finish(copy)
    assert copied == [0, 1, 2, "Busy"]


def test_an_error_in_the_middle_leaves_nothing_behind():
    tasklet = paused(hold, Fails(), [])
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            stackless.dumps(tasklet)
    finish(tasklet)
    assert not tasklet.alive


def test_dumps_and_loads_do_not_leak():
    """Neither objects nor references to the function, its code, or None."""
    tasklet = paused(down, 5, [])

    def round_trip():
        stackless.loads(stackless.dumps(tasklet)).kill()

    for _ in range(50):
        round_trip()
    gc.collect()
    before = sys.getrefcount(down), sys.getrefcount(down.__code__), len(gc.get_objects())
    for _ in range(200):
        round_trip()
    gc.collect()
    after = sys.getrefcount(down), sys.getrefcount(down.__code__), len(gc.get_objects())
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 50


def test_threads_pickle_the_same_functions_at_once():
    failed = []

    def work():
        try:
            for _ in range(200):
                results = []
                tasklet = paused(down, 4, results)
                copy, copied = stackless.loads(stackless.dumps((tasklet, results)))
                finish(copy)
                assert copied == [0, 1, 2, 3, 4]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failed


# ------------------------------------------------------------------ states of other origin


def state_of(tasklet):
    _, _, state = pickler.pack(tasklet)
    return state


def test_wrong_states_are_refused():
    flags, tempval, frames, after = state_of(paused(down, 2, []))
    function, its_code, at, offset, values = frames[0]
    wrong = [
        (flags, tempval, (), after),
        (flags, tempval, list(frames), after),
        ("x", tempval, frames, after),
        (flags, tempval, frames, "x"),
        (flags, tempval, frames, 7),
        (flags, tempval, (1, 2), after),
        (flags, tempval, (frames[0], None), after),
        (flags, tempval, (frames[0], ()), after),
        (flags, tempval, (frames[0], (1, 2)), after),
        (flags, tempval, ((None, its_code, at, offset, values),), after),
        (flags, tempval, ((function, "code", at, offset, values), *frames[1:]), after),
        (flags, tempval, ((function, its_code, at + 1, offset, values), *frames[1:]), after),
        (flags, tempval, ((function, its_code, at, offset, (*values, 1)), *frames[1:]), after),
        (flags, tempval, ((function, its_code, at, offset, values, 3), *frames[1:]), after),
        (flags, tempval, frames, after, "no exception"),
        (flags, tempval, frames, after, None, "no context"),
        (flags, tempval, frames, after, None, None, (1,)),
    ]
    for state in wrong:
        with pytest.raises((TypeError, ValueError)):
            stackless.tasklet().__setstate__(state)
    whole = stackless.tasklet().__setstate__((flags, tempval, frames, after))
    finish(whole)
    assert not whole.alive


def test_a_code_object_whose_comparison_runs_python_code():
    """It changes the function's code while the frame is read."""
    assert_child(
        """
        import gc, stackless
        from stackless.pickling.pickler import pack

        def work():
            stackless.schedule_remove()
            print("went on")

        def other():
            pass

        class Constant:
            def __eq__(self, another):
                work.__code__ = other.__code__
                gc.collect()
                return True
            __hash__ = None

        tasklet = stackless.tasklet(work)()
        stackless.run()
        _, _, (flags, tempval, (frame,), after) = pack(tasklet)
        function, code, *rest = frame
        strange = code.replace(co_consts=(*code.co_consts, Constant()))
        work.__code__ = code.replace(co_consts=(*code.co_consts, 3))
        del code, frame
        frames = ((function, strange, *rest),)
        copy = stackless.tasklet().__setstate__((flags, tempval, frames, after))
        copy.insert()
        stackless.run()
        """,
        prints="went on",
    )


def test_frames_of_large_code():
    """What the checks find out about it is not kept with the code; the frames come back as well."""
    lines = [f"    v{n % 60} = n + {n}" for n in range(3000)]
    source = ["def large(n, results):", *lines]
    source += ["    if n: large(n - 1, results)", "    else: stackless.schedule_remove()"]
    source += ["    results.append((n, v1))"]
    names = {"__name__": "nowhere", "stackless": stackless}
    exec("\n".join(source), names)
    results = []
    tasklet = paused(names["large"], 3, results)
    copy, copied = stackless.loads(stackless.dumps((tasklet, results)))
    finish(copy)
    finish(tasklet)
    assert copied == results == [(n, n + 2941) for n in range(4)]
