"""The timeline: parsed with Perfetto's published schema, and read as its viewer does."""

import pytest
import stackless
from stackless._record.recording import convert

schema = pytest.importorskip(
    "perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="perfetto is not installed"
)


def unknown_fields(message):
    """The number of fields that are in the bytes, but not in the schema."""
    from google.protobuf import unknown_fields as protobuf

    found = len(protobuf.UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            several = field.is_repeated if hasattr(field, "is_repeated") else field.label == 3
            found += sum(map(unknown_fields, value if several else [value]))
    return found


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    directory = tmp_path_factory.mktemp("perfetto")

    def producer(ch):
        for i in range(3):
            ch.send(i)

    def consumer(ch):
        for _ in range(3):
            print(ch.receive())

    def fails():
        raise LookupError("lost")

    with stackless.record(directory / "r.json"):
        ch = stackless.channel()
        stackless.tasklet(consumer)(ch)
        stackless.tasklet(producer)(ch)
        stackless.run()
        victim = stackless.tasklet(ch.receive)()
        stackless.run()
        victim.kill()
        sleeper = stackless.tasklet(stackless.sleep)(0.001)
        stackless.tasklet(sleeper.join)()
        stackless.run()
        stackless.tasklet(fails)()
        with pytest.raises(LookupError):
            stackless.run()
    convert(directory / "r.json", directory / "r.pftrace")
    trace = schema.Trace()
    trace.ParseFromString((directory / "r.pftrace").read_bytes())
    return trace


def tracks(trace):
    return {
        packet.track_descriptor.uuid: packet.track_descriptor
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }


def events(trace):
    return [
        (packet.timestamp, packet.track_event)
        for packet in trace.packet
        if packet.HasField("track_event")
    ]


def test_it_is_what_the_schema_says(trace):
    assert trace.packet
    assert trace.IsInitialized()
    assert unknown_fields(trace) == 0
    assert all(packet.trusted_packet_sequence_id == 1 for packet in trace.packet)
    assert trace.packet[0].sequence_flags == schema.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED


def test_a_track_for_each_tasklet(trace):
    all_tracks = tracks(trace)
    names = [track.name.split(" #")[0] for track in all_tracks.values()]
    for name in ("main", "producer(ch#1)", "consumer(ch#1)", "channel.receive()", "fails()"):
        assert name in names
    # The parent of each is its thread, and the thread's parent is the process.
    for track in all_tracks.values():
        if " #" in track.name:
            thread = all_tracks[track.parent_uuid]
            assert thread.name == "thread 1"
            assert all_tracks[thread.parent_uuid].HasField("process")
    assert {event.track_uuid for _, event in events(trace)} <= set(all_tracks)


def test_slices_begin_and_end_in_turn(trace):
    kinds = schema.TrackEvent
    open_slices, last = {}, 0
    running = []
    for time, event in events(trace):
        assert time >= last
        last = time
        is_open = open_slices.get(event.track_uuid)
        if event.type == kinds.TYPE_SLICE_BEGIN:
            assert not is_open, event.name
            open_slices[event.track_uuid] = event.name
            if event.name == "running":
                running.append(event.track_uuid)
                assert list(open_slices.values()).count("running") == 1
        elif event.type == kinds.TYPE_SLICE_END:
            assert is_open
            open_slices[event.track_uuid] = None
        else:
            assert event.type == kinds.TYPE_INSTANT
    assert not any(open_slices.values())
    assert len(set(running)) == 7
    names = {event.name for _, event in events(trace)}
    assert {"running", "run()", "receives from channel 1", "ended by TaskletExit"} <= names
    assert any(name.startswith("sleeping ") for name in names)
    assert any(name.startswith("joining tasklet ") for name in names)
    assert "ended by LookupError('lost')" in names


def test_flows_lead_from_send_to_receive(trace):
    begins, ends = {}, {}
    for time, event in events(trace):
        for flow in event.flow_ids:
            begins[flow] = (time, event.name)
        for flow in event.terminating_flow_ids:
            ends[flow] = (time, event.name)
            assert flow in begins
    assert len(begins) == 3
    assert begins.keys() == ends.keys()
    for i, flow in enumerate(begins):
        assert begins[flow][1] == f"send {i} on channel 1"
        assert ends[flow][1] == f"receive {i} from channel 1"
    names = {event.source_location.function_name.split(".")[-1] for _, event in events(trace)}
    assert {"producer", "consumer"} <= names
    lines = [event.source_location.line_number for _, event in events(trace)]
    assert max(lines) < 60
