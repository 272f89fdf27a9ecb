"""Blobs whose code is in a store of its own, and `Snapshotter`."""

import gc
import hashlib
import pickle
import sys
import textwrap

import helper_module
import pytest
import stackless
from child_process import assert_child, run_child
from paused_tasklets import finish, paused
from stackless import pickling
from stackless.pickling import facts


def steps(results, count=5):
    for number in range(count):
        results.append(number)
        pause(results)


def pause(results):
    stackless.schedule_remove()
    results.append("went on")


def fresh(text):
    """A function whose code only the store keeps."""
    names = {"__name__": "nowhere"}
    exec(f"def function(): return {text!r}", names)
    return names["function"]


# ------------------------------------------------------------------ dumps and loads


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("key", [None, b"a key"])
def test_the_code_is_in_the_store_and_not_in_the_blob(protocol, key):
    results, store = [], {}
    tasklet = paused(steps, results, 2)
    whole = stackless.dumps((tasklet, results), protocol=protocol, key=key)
    blob = stackless.dumps((tasklet, results), protocol=protocol, key=key, code_store=store)
    assert len(store) == 2 and len(blob) < len(whole)
    for digest, data in store.items():
        assert type(digest) is type(data) is bytes and len(digest) == 16
        assert hashlib.blake2b(data, digest_size=16).digest() == digest
        assert data not in blob
    copy, copied = stackless.loads(blob, key=key, code_store=store)
    finish(copy)
    finish(copy)
    assert copied == [0, "went on", 1, "went on"]


def test_another_process_needs_the_store():
    store = {}
    blob = stackless.dumps(fresh("42"), code_store=store)
    source = """
        import stackless, sys
        from stackless import pickling
        blob, digest, data = map(bytes.fromhex, sys.argv[1:])
        try:
            stackless.loads(blob, code_store={})
        except pickling.MissingCodeError as error:
            print(digest.hex() in str(error))
        print(stackless.loads(blob, code_store={digest: data})())
    """
    ((digest, data),) = store.items()
    assert_child(source, args=[blob.hex(), digest.hex(), data.hex()], prints="True 42")


def test_without_a_store_nothing_is_loaded():
    """Also if the code happens to be in this process."""
    blob = stackless.dumps(lambda: 1, code_store={})
    with pytest.raises(pickling.MissingCodeError, match="code_store"):
        stackless.loads(blob)


def test_a_blob_without_code_needs_no_store():
    assert stackless.loads(stackless.dumps([1], code_store={})) == [1]
    assert stackless.loads(stackless.dumps([1]), code_store={}) == [1]
    assert stackless.loads(stackless.dumps(lambda: 1), code_store={})() == 1


def in_the_store_only(text):
    store = {}
    blob = stackless.dumps(fresh(text), code_store=store)
    gc.collect()
    (digest,) = store
    assert facts.living(digest) is None
    return blob, store, digest


def test_changed_code_in_the_store_is_refused():
    blob, store, digest = in_the_store_only("changed")
    _, other, _ = in_the_store_only("another")
    for wrong in (b"", store[digest][:-1], store[digest] + b"x", *other.values()):
        with pytest.raises(pickle.UnpicklingError, match="damaged"):
            stackless.loads(blob, code_store={digest: wrong})
    assert stackless.loads(blob, code_store=store)() == "changed"


def test_code_of_another_python_in_the_store():
    blob, store, _ = in_the_store_only("other")
    (data,) = store.values()
    foreign = bytes([data[0] + 1]) + data[1:]
    digest = hashlib.blake2b(foreign, digest_size=16).digest()
    with pytest.raises(pickling.CodeVersionError):
        pickling.code.fetch([digest], {digest: foreign})
    assert stackless.loads(blob, code_store=store)() == "other"


def test_copies_of_one_process_share_code():
    """With one another, and with the original while it lives."""
    store = {}
    function = fresh("shared")
    blob = stackless.dumps(function, code_store=store)
    copies = [stackless.loads(blob, code_store=store) for _ in range(2)]
    assert copies[0].__code__ is copies[1].__code__ is function.__code__
    assert stackless.dumps(copies[0], code_store={}) == blob


class Broken(dict):
    """A store whose database is away."""

    def __setitem__(self, digest, data):
        raise ConnectionError("no database")

    def __getitem__(self, digest):
        raise ConnectionError("no database")


def test_errors_of_the_store_are_raised():
    with pytest.raises(ConnectionError):
        stackless.dumps(lambda: 1, code_store=Broken())
    blob, store, _ = in_the_store_only("broken")
    with pytest.raises(ConnectionError):
        stackless.loads(blob, code_store=Broken(store))
    assert stackless.loads(blob, code_store=store)() == "broken"


def test_what_cannot_be_pickled_puts_nothing_into_the_store():
    store = {}
    with pytest.raises(TypeError):
        stackless.dumps([lambda: 1, sys._getframe()], code_store=store)
    assert store == {}


def test_a_blob_that_names_code_which_it_does_not_need():
    """And one that needs code which it does not name: refused by the pickle itself."""
    _, _, digest = in_the_store_only("unnamed")
    with pytest.raises(pickle.UnpicklingError, match="not fetched"):
        pickling.code.stored(digest)
    with pytest.raises(pickle.UnpicklingError, match="not fetched"):
        pickling.code.stored("text")


# ------------------------------------------------------------------ Snapshotter


def test_each_snapshot_is_whole_and_of_its_moment():
    results = []
    tasklet = stackless.tasklet(steps)(results)
    snapshotter = pickling.Snapshotter((tasklet, results))
    blobs = []
    for _ in range(3):
        stackless.run()
        blobs.append(snapshotter.snapshot())
        tasklet.insert()
    store = snapshotter.code_store
    assert len(store) == 2
    stackless.run()
    for number, blob in enumerate(blobs):
        copy, copied = stackless.loads(blob, code_store=store)
        assert copied[-1] == number
        finish(copy)
        assert copied[-2:] == ["went on", number + 1]


def test_an_object_of_a_lower_frame_that_an_upper_frame_changes():
    """The lower frame has not moved, and its list has another item in each snapshot."""

    def lower():
        shared = []
        upper(shared)
        return shared

    def upper(shared):
        while True:
            shared.append(len(shared))
            stackless.schedule_remove()
            if len(shared) == 4:
                return

    done = []
    tasklet = stackless.tasklet(lambda: done.append(lower()))()
    snapshotter = pickling.Snapshotter(tasklet, {}, key=b"key")
    stackless.run()
    first = snapshotter.snapshot()
    finish(tasklet)
    second = snapshotter.snapshot()
    for blob, length in ((first, 1), (second, 2)):
        copy = stackless.loads(blob, key=b"key", code_store=snapshotter.code_store)
        frame = copy.frame
        while "shared" not in frame.f_locals:
            frame = frame.f_back
        assert frame.f_locals["shared"] == list(range(length))
        assert frame.f_back.f_locals["shared"] is frame.f_locals["shared"]
    with pytest.raises(pickling.SignatureError):
        stackless.loads(first, key=b"another", code_store=snapshotter.code_store)


def test_the_store_is_asked_each_time():
    """Code that was deleted from it is put there again."""
    tasklet = paused(steps, [])
    store = {}
    snapshotter = pickling.Snapshotter(tasklet, store)
    snapshotter.snapshot()
    kept = dict(store)
    store.clear()
    snapshotter.snapshot()
    assert store == kept and snapshotter.code_store is store
    assert "2 code objects" in repr(snapshotter)


def test_no_sources_are_compared_for_the_same_program():
    blob = stackless.dumps(helper_module.count, same_program=True)
    assert pickling.inspect(blob).modules == ()
    assert pickling.inspect(stackless.dumps(helper_module.count)).modules == ("helper_module",)
    assert stackless.loads(blob) is helper_module.count


def test_functions_by_name_stay_names():
    store = {}
    blob = stackless.dumps(helper_module.count, code_store=store)
    assert store == {} and stackless.loads(blob) is helper_module.count


# ------------------------------------------------------------------ the same program


PROGRAM = """
    import stackless, sys
    limit = {limit}
    class Point:
        pass
    def helper(n):
        return n + limit
    def work(point, results):
        stackless.schedule_remove()
        results.append((helper(1), type(point) is Point, inner()))
    inner = lambda: helper
    alias = helper
"""


def test_main_by_name_for_the_same_program():
    """Its globals are those of the program that loads; the pending call has its own code."""
    child = run_child(
        textwrap.dedent(PROGRAM).format(limit=1)
        + textwrap.dedent(
            """
            results = []
            t = stackless.tasklet(work)(Point(), results)
            stackless.run()
            sys.stdout.write(stackless.dumps((t, results, work), same_program=True).hex())
            """
        )
    )
    assert child.stderr == ""
    assert_child(
        textwrap.dedent(PROGRAM).format(limit=100)
        + textwrap.dedent(
            """
            t, results, function = stackless.loads(bytes.fromhex(sys.argv[1]))
            t.insert()
            stackless.run()
            ((number, same, found),) = results
            print(number, same, found is helper, function is work)
            """
        ),
        args=[child.stdout],
        prints="101 True True True",
    )


def test_what_main_has_not_under_its_name_is_by_value_nevertheless():
    assert_child(
        """
        import stackless
        def make():
            class Local:
                x = 3
            return Local, lambda: x
        x = 5
        Local, function = stackless.loads(stackless.dumps(make(), same_program=True))
        x = 7
        print(Local.x, function())
        """,
        prints="3 7",
    )
