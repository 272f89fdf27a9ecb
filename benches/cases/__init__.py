"""The cases that benches/run.py measures, in the order in which they are printed."""

from cases import alt, call, channel, channel_for, create, parked, parser, schedule, snapshot, sync
from harness import Case

CASES: list[Case] = [
    schedule.TWO,
    schedule.THOUSAND,
    channel.CASE,
    alt.CASE,
    channel_for.CASE,
    create.CASE,
    call.CASE,
    parked.SHALLOW,
    parked.DEEP,
    parser.CASE,
    sync.FREE,
    sync.HANDED,
    sync.QUEUE,
    *snapshot.DUMPS.values(),
    *snapshot.LOADS.values(),
    snapshot.BY_VALUE,
]
