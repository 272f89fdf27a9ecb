"""Buffers beside the blob: `buffer_callback` and `buffers`, as of pickle."""

import io
import pickle
from pathlib import Path

import pytest
import stackless
from buffer_objects import Array
from child_process import assert_child
from stackless import pickling

KEY, OTHER = b"k" * 32, b"o" * 32
SIZE = 1_000_000


@pytest.fixture
def array():
    return Array(bytearray(range(250)) * (SIZE // 250))


def apart(value, **options):
    """A blob, and its buffers as they are."""
    buffers = []
    return stackless.dumps(value, buffer_callback=buffers.append, **options), buffers


def copied(buffers):
    return [bytearray(each.raw()) for each in buffers]


def test_the_blob_does_not_have_the_bytes(array):
    blob, buffers = apart(["before", array, "after"])
    assert len(blob) < 500 and [type(each) for each in buffers] == [pickle.PickleBuffer]
    assert buffers[0].raw().obj is array.data  # it is no copy
    before, found, after = stackless.loads(blob, buffers=copied(buffers))
    assert (before, after, found) == ("before", "after", array)


@pytest.mark.parametrize("protocol", [None, -1, 5])
def test_the_signature_covers_the_buffers_of_every_protocol_that_has_them(array, protocol):
    """-1 is the highest, as for pickle."""
    blob, buffers = apart(array, protocol=protocol, key=KEY)
    assert stackless.loads(blob, key=KEY, buffers=copied(buffers)) == array
    changed = copied(buffers)
    changed[0][0] ^= 1
    with pytest.raises(pickling.SignatureError):
        stackless.loads(blob, key=KEY, buffers=changed)


def test_the_object_uses_the_memory_that_is_given(array):
    blob, buffers = apart(array)
    memory = bytearray(buffers[0].raw())
    found = stackless.loads(blob, buffers=[memory])
    found.data[0] = 77
    assert memory[0] == 77 and array.data[0] == 0


def test_a_read_only_buffer_stays_one():
    blob, buffers = apart([Array(b"x" * 1000), Array(bytearray(1000))])
    fixed, changeable = stackless.loads(blob, buffers=copied(buffers))
    assert not fixed.writable and changeable.writable


def test_an_object_that_is_there_twice_stays_one(array):
    blob, buffers = apart([array, array])
    one, other = stackless.loads(blob, buffers=copied(buffers))
    assert one is other and len(buffers) == 1


def test_the_callback_can_leave_buffers_in_the_blob(array):
    small, kept = Array(bytearray(b"small")), []

    def callback(buffer):
        if buffer.raw().nbytes < 100:
            return True
        return kept.append(buffer)

    blob = stackless.dumps([small, array, small], buffer_callback=callback)
    assert b"small" in blob and len(kept) == 1
    assert stackless.loads(blob, buffers=copied(kept)) == [small, array, small]
    alone = stackless.dumps([small], buffer_callback=callback)
    assert stackless.loads(alone) == stackless.loads(alone, buffers=[]) == [small]


def test_without_a_callback_the_blob_has_all(array):
    blob = stackless.dumps(array)
    assert len(blob) > SIZE and stackless.loads(blob) == array


def waiting(channel, array, found):
    kept = Array(bytearray(b"y" * SIZE))
    value = channel.receive()
    found.extend((value, kept.data[:2], array.data[:2]))


def test_a_tasklet_with_arrays(array):
    channel = stackless.channel()
    found = []
    tasklet = stackless.tasklet(waiting)(channel, array, found)
    stackless.run()
    blob, buffers = apart((channel, tasklet, found))
    assert len(blob) < 5000 and len(buffers) == 2
    its_channel, copy, its_found = stackless.loads(blob, buffers=copied(buffers))
    array.data[:2] = b"zz"
    its_channel.send(1)
    stackless.run()
    assert not copy.alive and its_found == [1, b"yy", b"\0\1"]
    tasklet.kill()
    assert found == []


def test_files(array):
    file, buffers = io.BytesIO(), []
    stackless.dump([array], file, buffer_callback=buffers.append)
    stackless.dump("next", file)
    file.seek(0)
    assert stackless.load(file, buffers=copied(buffers)) == [array]
    assert stackless.load(file) == "next"


def test_several_buffers_keep_their_order():
    arrays = [Array(bytearray([n]) * (n + 1)) for n in range(50)]
    blob, buffers = apart(arrays, key=KEY)
    assert stackless.loads(blob, key=KEY, buffers=(each for each in copied(buffers))) == arrays


def test_with_a_code_store(array):
    store = {}
    blob, buffers = apart((lambda: 7, array), code_store=store)
    function, found = stackless.loads(blob, code_store=store, buffers=copied(buffers))
    assert function() == 7 and found == array


def test_its_contents_can_be_inspected_without_buffers(array):
    for key in None, KEY:
        blob, _ = apart({"name": "text", "array": array}, key=key)
        found = pickling.inspect(blob, key=key)
        assert found.verified == (key is not None) and "'name': 'text'" in found.text


# ------------------------------------------------------------------ signatures and damage


def test_the_signature_covers_the_buffers(array):
    blob, buffers = apart(array, key=KEY)
    assert stackless.loads(blob, key=KEY, buffers=copied(buffers)) == array
    for change in 0, SIZE // 2, SIZE - 1:
        (changed,) = copied(buffers)
        changed[change] ^= 1
        with pytest.raises(pickling.SignatureError, match="buffer number 0"):
            stackless.loads(blob, key=KEY, buffers=[changed])
    for other in bytearray(SIZE - 1), bytearray(SIZE + 1), bytearray():
        with pytest.raises(pickling.SignatureError, match="buffer number 0"):
            stackless.loads(blob, key=KEY, buffers=[other])
    with pytest.raises(pickling.SignatureError):
        stackless.loads(blob, key=OTHER, buffers=copied(buffers))


def test_buffers_that_are_exchanged_are_refused():
    blob, buffers = apart([Array(bytearray(b"a" * 10)), Array(bytearray(b"b" * 10))], key=KEY)
    with pytest.raises(pickling.SignatureError, match="buffer number 0"):
        stackless.loads(blob, key=KEY, buffers=copied(buffers)[::-1])


def test_digests_in_the_blob_cannot_be_changed(array):
    """Each byte of the table of buffers is covered by the checksum or the signature."""
    for key, error in (None, pickling.DamagedError), (KEY, pickling.SignatureError):
        blob, buffers = apart(array, key=key)
        for at in range(14 + (32 if key else 16), len(blob)):
            changed = bytearray(blob)
            changed[at] ^= 1
            with pytest.raises(error):
                stackless.loads(changed, key=key, buffers=copied(buffers))


def test_a_damaged_buffer_is_found(array):
    blob, buffers = apart(array)
    (changed,) = copied(buffers)
    changed[1000] ^= 1
    with pytest.raises(pickling.DamagedError, match="buffer number 0"):
        stackless.loads(blob, buffers=[changed])


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("given", [0, 1, 3, None])
def test_too_few_and_too_many_buffers(given):
    blob, buffers = apart([Array(bytearray(b"a")), Array(bytearray(b"b"))])
    options = {} if given is None else {"buffers": (copied(buffers) * 2)[:given]}
    with pytest.raises(pickling.BuffersError, match=f"needs 2 buffers, and {given or 0} were"):
        stackless.loads(blob, **options)


def test_buffers_for_a_blob_that_has_none():
    with pytest.raises(pickling.BuffersError, match="needs 0 buffers, and 1 were"):
        stackless.loads(stackless.dumps([1]), buffers=[b"x"])


@pytest.mark.parametrize("wrong", [[3], ["text"], [None], [memoryview(b"abcd")[::2]]])
def test_wrong_buffers(wrong):
    blob, _ = apart(Array(bytearray(b"a")))
    with pytest.raises(TypeError, match="contiguous bytes-like"):
        stackless.loads(blob, buffers=wrong)


def test_wrong_arguments(array):
    for wrong in 3, "text":
        with pytest.raises(TypeError, match="callable"):
            stackless.dumps(array, buffer_callback=wrong)
    with pytest.raises(TypeError):
        stackless.loads(stackless.dumps(1), buffers=3)
    with pytest.raises(ValueError, match="protocol"):
        stackless.dumps(array, protocol=4, buffer_callback=lambda buffer: None)
    with pytest.raises(pickle.PicklingError, match="non-contiguous"):
        stackless.dumps(
            pickle.PickleBuffer(memoryview(b"abcd")[::2]), buffer_callback=lambda buffer: None
        )


def test_an_error_of_the_callback_is_raised(array):
    def callback(buffer):
        raise LookupError("no room")

    with pytest.raises(LookupError, match="no room"):
        stackless.dumps(array, buffer_callback=callback)


def test_arrays_of_numpy():
    numpy = pytest.importorskip("numpy", reason="arrays of numpy need numpy")
    array = numpy.arange(SIZE, dtype="int32").reshape(1000, -1)
    turned = array.T  # its memory is in another order
    blob, buffers = apart({"array": array, "turned": turned, "part": array[::2]}, key=KEY)
    assert len(blob) < 5000 + array.nbytes // 2 and len(buffers) >= 2
    found = stackless.loads(blob, key=KEY, buffers=copied(buffers))
    for name, expected in ("array", array), ("turned", turned), ("part", array[::2]):
        assert (found[name] == expected).all() and found[name].flags.writeable


FAILS = """
import gc, sys, threading
sys.path.append(sys.argv[1])
import stackless
from buffer_objects import Array

def fails(what):
    # The collector comes to the memoryview before it comes to the frames of the exception.
    cycle = [memoryview(bytearray(100_000))]
    cycle.append(cycle)
    if what == "dumps":
        call = lambda: stackless.dumps([Array(cycle[0]), threading.Lock()])
    elif what == "apart":
        call = lambda: stackless.dumps(
            [Array(cycle[0]), threading.Lock()], buffer_callback=lambda _: False
        )
    else:
        blob = stackless.dumps(Array(bytearray(100_001)), buffer_callback=lambda _: False)
        call = lambda: stackless.loads(blob, buffers=[cycle[0]])
    try:
        call()
    except (TypeError, stackless.pickling.DamagedError) as error:
        cycle.append(error)

for what in "dumps", "apart", "loads":
    fails(what)
    print(what, gc.collect() > 0)
"""


def test_the_frames_of_an_error_keep_no_buffer():
    """CPython before 3.12.7 crashes when it collects a memoryview that a buffer still uses."""
    assert_child(FAILS, args=[Path(__file__).parent], prints="dumps True apart True loads True")
