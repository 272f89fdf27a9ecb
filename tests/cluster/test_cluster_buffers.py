"""Large buffers of values: beside the blobs, on all ways that values and tasklets take."""

import threading

import distributed.protocol
import pytest
from buffer_objects import Array
from stackless import cluster, pickling
from stackless.cluster.asking import ask, current_host
from test_cluster_tasklets import until
from worker_processes import wait_for

SIZE = 1_000_000


def made(n=1, size=SIZE):
    return Array(bytearray([n]) * size)


def host_of(c):
    return current_host(c._name)


# ------------------------------------------------------------------ encoding


def test_the_message_is_small_and_the_buffer_is_not_copied_again(c):
    array = made()
    encoded = host_of(c).codec.encode({"array": array, "again": array})
    tag, blob, frame = encoded
    assert tag == "" and len(blob) < 500 and frame.memory == array.data
    assert frame.memory.readonly and frame.memory.obj is not array.data
    frames = distributed.protocol.dumps([(0, 1, [("send", 1, encoded)])])
    assert sum(memoryview(each).nbytes for each in frames[:-1]) < 2000
    assert memoryview(frames[-1]).obj is frame.memory.obj


def test_small_buffers_are_in_the_blob(c):
    _, blob = host_of(c).codec.encode([made(65, 100)] * 2)
    assert b"A" * 100 in blob


def test_frames_that_differ_are_refused(c, one):
    """The blob is signed, and has the digests of its frames."""
    host = host_of(c)
    number = next(each.id for each in c.hosts() if each.name == one)
    tag, blob, frame = host.codec.encode(made())
    kind = type(frame)
    changed = bytearray(frame.memory)
    changed[-1] ^= 1
    for frames, error in (
        ([kind(memoryview(changed))], pickling.SignatureError),
        ([], pickling.BuffersError),
        ([frame, frame], pickling.BuffersError),
    ):
        channel = c.channel(on=one)
        receiver = c.spawn(receive, channel, on=one)
        about = "testing"
        ask(c._name, number, "send", channel._number, (tag, blob, *frames), about=about)
        with pytest.raises(error):
            receiver.join(60)


# ------------------------------------------------------------------ messages


def receive(channel):
    return channel.receive()


def change_and_send_back(there, back):
    for array in there:
        array.data[0] += 1
        back.send(array)


@pytest.mark.parametrize("capacity", [0, 3])
@pytest.mark.parametrize("homes", ["there", "here"])
def test_an_array_arrives_and_can_be_changed(c, one, capacity, homes):
    on = one if homes == "there" else "tests"
    there, back = (c.channel(capacity=capacity, on=on) for _ in range(2))
    c.spawn(change_and_send_back, there, back, on=one)
    array = made()
    for n in range(3):
        there.send(array)
        found = back.receive(timeout=60)
        assert (found.data[0], found.data[1:]) == (array.data[0] + 1, array.data[1:])
        assert found.writable
        array.data[0] = 10 * n
    there.close()


def test_what_is_sent_is_the_array_as_it_is_then(c):
    """Also if the channel is in the same process, and the value waits in its buffer."""
    channel = c.channel(capacity=2)
    array = made()
    channel.send(array)
    array.data[:] = bytes(SIZE)
    channel.send(array)
    assert channel.receive().data[:2] == b"\1\1" and channel.receive().data[:2] == b"\0\0"


def test_identity_within_a_message(c):
    channel = c.channel(capacity=2)
    array = made()
    channel.send([array, array, made()])
    one, again, other = channel.receive()
    assert one is again and one is not other and one == other


def test_read_only_arrays_stay_so(c, one):
    channel = c.channel(capacity=2, on=one)
    channel.send([Array(b"x" * SIZE), made()])
    fixed, changeable = channel.receive()
    assert not fixed.writable and changeable.writable


@pytest.mark.parametrize("size", [10, SIZE])
def test_a_bytearray(c, one, size):
    value = bytearray(b"z") * size
    found = c.spawn(echo, value, on=one).join(60)
    assert type(found) is bytearray and found == value
    channel = c.channel(capacity=1, on=one)
    channel.send(value)
    found = channel.receive()
    found.append(1)
    assert type(found) is bytearray and found[:-1] == value


def test_larger_than_the_frames_of_dask(c, one):
    array = made(7, 70 << 20)
    found = c.spawn(echo, array, on=one).join(60)
    assert found == array and found.writable


def test_arrays_of_numpy(c, one):
    numpy = pytest.importorskip("numpy", reason="arrays of numpy need numpy")
    array = numpy.arange(200_000.0).reshape(400, -1)
    channel = c.channel(capacity=2, on=one)
    channel.send({"array": array, "turned": array.T})
    found = channel.receive()
    assert (found["array"] == array).all() and (found["turned"] == array.T).all()
    found["array"] += 1


# ------------------------------------------------------------------ calls and results


def echo(value):
    return value


def fails_with(array):
    raise LookupError("with an array", array)


def test_arguments_results_and_errors(c, one):
    array = made()
    tasklet = c.spawn(echo, [array, array], on=one)
    first, again = tasklet.join(60)
    assert first is again and first == array and first.writable
    # Each join() returns a copy of its own.
    first.data[:] = bytes(SIZE)
    assert tasklet.join()[0] == array
    with pytest.raises(LookupError) as caught:
        c.spawn(fails_with, array, on=one).join(60)
    assert caught.value.args == ("with an array", array)


def test_map(c):
    found = list(c.map(echo, (made(n, 100_000) for n in range(20))))
    assert found == [made(n, 100_000) for n in range(20)]


# ------------------------------------------------------------------ tasklets that move


def hop_with(array, workers):
    own = made(2)
    seen = []
    for n, name in enumerate(workers):
        array.data[n] = own.data[n] = 100 + n
        cluster.go(name)
        seen.append((cluster.here().name, array.data[n], own.data[n]))
    return seen, array, own


def test_a_tasklet_moves_with_its_arrays(c, workers):
    way = workers * 2
    seen, array, own = c.spawn(hop_with, made(), way, on=workers[-1]).join(60)
    assert seen == [(name, 100 + n, 100 + n) for n, name in enumerate(way)]
    changed = bytes(range(100, 100 + len(way)))
    assert array.data == changed + b"\1" * (SIZE - len(way))
    assert own.data == changed + b"\2" * (SIZE - len(way))


def test_the_blob_of_a_tasklet_is_small(c, one):
    channel = c.channel()
    tasklet = c.spawn(holds, made(), channel, on="tests")
    until(lambda: channel.balance == -1)
    host = host_of(c)
    parcel = []
    here = host.tasks.here[tasklet.id]
    host.perform(lambda: parcel.extend(host.tasks.pickled(here, cluster.ClusterError)))
    until(lambda: parcel)
    assert len(parcel[0]) < 10_000 and [each.memory.nbytes for each in parcel[1:]] == [SIZE]
    tasklet.move(one)
    channel.send(None)
    assert tasklet.join(60) == (1, one)


def holds(array, channel):
    channel.receive()
    return array.data[0], cluster.here().name


def send_it(array, channel):
    channel.send(array)
    array.data[0] = 50
    return cluster.here().name


def test_a_tasklet_moves_while_it_sends_an_array(c, one, other):
    channel = c.channel()
    tasklet = c.spawn(send_it, made(), channel, on=one)
    until(lambda: channel.balance == 1)
    for name in other, "tests", one, other:
        tasklet.move(name)
    until(lambda: channel.balance == 1)
    assert channel.receive() == made()
    assert tasklet.join(60) == other


def wander(there, channel, workers, count):
    for n in range(count):
        channel.send(made(n, 70_000 + n))
        if n % 3 == 0:
            cluster.go(workers[(there + n) % len(workers)])


def collect(channel, workers):
    found = []
    for n, array in enumerate(channel):
        found.append((array.data[0], len(array.data)))
        if n % 4 == 0:
            cluster.go(workers[n % len(workers)])
    return found


@pytest.mark.parametrize("capacity", [0, 2])
def test_arrays_arrive_in_order_while_all_move_and_connections_break(c, workers, capacity):
    """What was on a connection that broke is sent again, with its frames."""
    channels = [c.channel(capacity=capacity) for _ in range(4)]
    receivers = [c.spawn(collect, each, workers) for each in channels]
    senders = [c.spawn(wander, n, each, workers, 40) for n, each in enumerate(channels)]
    over = threading.Event()
    engine = host_of(c)._engine
    broken = []

    def breaking():
        while not over.wait(0.02):
            for link in list(engine._links.values()):
                comm = link._comm
                if comm is not None and link.address and link._to != 0:
                    engine.loop.call_soon_threadsafe(comm.abort)
                    broken.append(link)

    thread = threading.Thread(target=breaking)
    thread.start()
    try:
        for each in senders:
            each.join(120)
    finally:
        over.set()
        thread.join()
    for each in channels:
        each.close()
    expected = [(n, 70_000 + n) for n in range(40)]
    assert [each.join(120) for each in receivers] == [expected] * 4
    assert broken


# ------------------------------------------------------------------ checkpoints


def changes(array, channel, log):
    array.data[0] = 10
    cluster.checkpoint()
    array.data[0] += 1
    log.send((array.data[0], array.writable, cluster.epoch()))
    return channel.receive(), array.data[0]


def test_a_checkpoint_has_the_array_as_it_was(c, start):
    channel, log = c.channel(), c.channel(capacity=10)
    (worker,) = start()
    tasklet = c.spawn(changes, made(), channel, log, on=worker.name, on_loss="restart")
    assert log.receive(timeout=60) == (11, True, 1)
    blob, frame = tasklet._record.checkpoint[2]
    assert len(blob) < 10_000 and frame.memory.readonly
    worker.kill()
    wait_for(c, [], [worker.name])
    assert log.receive(timeout=60) == (11, True, 2)
    channel.send("on", timeout=60)
    assert tasklet.join(60) == ("on", 11)


def test_the_memory_of_what_is_kept_is_not_handed_out(c):
    codec = host_of(c).codec
    _, blob, frame = codec.encode(made())
    arrived = type(frame)(memoryview(bytearray(frame.memory)))
    parcel = codec.keep([blob, arrived])
    found = codec.loads(parcel)
    found.data[:] = bytes(SIZE)
    assert codec.loads(parcel) == made()
    # Without that the memory of the frame is used, and there is no copy.
    arrived = type(frame)(memoryview(bytearray(frame.memory)))
    assert memoryview(codec.loads((blob, arrived)).data).obj is arrived.memory.obj
