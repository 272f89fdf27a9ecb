"""After each step, forward and back, the page shows the state in the recording."""

import subprocess
import sys
from pathlib import Path

import pytest
from replay import OVER, Replay, load
from stackless._record.recording import convert

ROOT = Path(__file__).resolve().parents[2]
ANIMATIONS = ("hello", "greet", "round_robin", "channel", "producers_consumer", "factorial")

MIXED = """
import stackless, sys, threading, time

sys.setswitchinterval(10)

def worker(ch, n):
    for i in range(3):
        ch.send((n, i))
        stackless.schedule()

def reader(ch, total):
    try:
        for value in ch:
            total.append(value)
    finally:
        print("reader ends")

def fails():
    raise LookupError("planned")

def pauses():
    stackless.schedule_remove()

def other_thread():
    for i in range(2):
        across.send(i)
    time.sleep(0.05)
    across.send(2)  # the main tasklet is runnable, and this thread ends before it runs

ch, across = stackless.channel(), stackless.channel()
ch.preference = 0
total = []
r = stackless.tasklet(reader)(ch, total)
for n in range(4):
    stackless.tasklet(worker)(ch, n)
stackless.run()
p = stackless.tasklet(pauses)()
stackless.tasklet(fails)()
try:
    stackless.run()
except LookupError:
    print("failed")
p.insert()
stackless.run()
thread = threading.Thread(target=other_thread)
thread.start()
for _ in range(3):
    print(across.receive())
thread.join()
ch.close()
stackless.run()

def fills(kept):
    for i in range(4):
        kept.send(i)
    kept.send_exception(StopIteration)

def chooses(kept, stop):
    while stackless.alt(stop, kept.receiving()).case is not stop:
        pass

kept, stop = stackless.channel(capacity=2), stackless.channel()
stackless.tasklet(fills)(kept)
stackless.run()
print(list(kept))
stackless.tasklet(chooses)(kept, stop)
stackless.run()
kept.send("x")
stop.send(None)
stackless.tasklet(stackless.sleep)(0.001)
stackless.run()
"""


def expected(replay):
    return {
        "tasklets": {
            str(t): {
                "state": state,
                "label": replay.labels.get(t, ""),
                "value": replay.values.get(t, ""),
                "stack": [list(call) for call in replay.stack(t)],
            }
            for t, state in replay.states.items()
        },
        "rings": {str(thread): list(ring) for thread, ring in replay.rings.items()},
        "channels": {
            str(c): {
                "balance": replay.balance(c),
                "queue": list(queue),
                "buffer": list(replay.buffers.get(c, ())),
            }
            for c, queue in replay.queues.items()
        },
        "output": "".join(text for _, text in replay.printed),
        # A tasklet that another thread made runnable runs only when its own thread has woken.
        "running": [
            ring[0]
            for ring in replay.rings.values()
            if ring and replay.states[ring[0]] == "running"
        ],
    }


DOM = """() => {
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const card = (e) => [e.dataset.state, Number(e.dataset.depth), e.querySelector('.stack')
    ? all('.frame:not(.more)', e).map((f) => Number(f.querySelector('small').textContent)) : null];
  const channel = (e) => [Number(e.dataset.balance),
    all('[data-waiting]', e).map((w) => Number(w.dataset.waiting)),
    e.querySelector('.balance').textContent];
  const ring = (e) => e.dataset.ring.split(' ').filter(Boolean).map(Number);
  const by = (name, selector, f) =>
    Object.fromEntries(all(selector).map((e) => [e.dataset[name], f(e)]));
  const text = (selector) => document.querySelector(selector).textContent;
  return {
    cards: by('tasklet', '#tasklets [data-tasklet]', card),
    rings: by('thread', '[data-ring]', ring),
    channels: by('channel', '[data-channel]', channel),
    output: text('#output pre'),
    line: Number(document.querySelector('.line.current')?.dataset.line ?? 0),
    words: text('#words'),
    count: text('#count'),
  };
}"""


def check(page, want, step, last):
    """Compare the page's own model, and the visible page, with the recording."""
    got = page.evaluate("stacklessPlayer.snapshot()")
    assert got["step"] == step
    for number, t in got["tasklets"].items():
        mine = want["tasklets"][number]
        for field in ("state", "label", "stack"):
            assert t[field] == mine[field], (step, number, field)
        if mine["state"] in ("sends", "failed"):
            assert t["value"] == mine["value"]
    # Only tasklets that have ended may be missing: they are removed after a while.
    missing = want["tasklets"].keys() - got["tasklets"].keys()
    assert all(want["tasklets"][number]["state"] in OVER for number in missing)
    assert got["rings"] == want["rings"]
    assert got["channels"] == want["channels"]

    seen = page.evaluate(DOM)
    alive = {n for n, t in want["tasklets"].items() if t["state"] not in OVER}
    assert alive <= seen["cards"].keys()
    for number, (state, depth, lines) in seen["cards"].items():
        mine = want["tasklets"][number]
        assert (state, depth) == (mine["state"], len(mine["stack"])), (step, number)
        if lines is not None:
            assert lines == [line for _, line in mine["stack"]][:9]
    assert seen["rings"] == want["rings"]
    for number, channel in want["channels"].items():
        balance, waiting, text = seen["channels"][number]
        assert balance == channel["balance"] == int(text)
        assert waiting == channel["queue"][:5] if len(waiting) < 6 else True
    assert seen["output"] == want["output"]
    assert bool(seen["words"].strip()) and "undefined" not in seen["words"]
    assert seen["count"] == f"{step:,} / {last:,}"
    innermost = [want["tasklets"][str(t)]["stack"][:1] for t in want["running"]]
    lines = [stack[0][1] for stack in innermost if stack]
    if not want["running"]:
        assert seen["line"] == 0
    elif lines and len(want["rings"]) == 1:
        assert seen["line"] in lines


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mixed")
    (directory / "mixed.py").write_text(MIXED)
    command = [sys.executable, "-m", "stackless", "record", "-o", "mixed.html", "mixed.py"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory / "mixed.html"


@pytest.mark.parametrize("name", [*ANIMATIONS, "mixed"])
def test_every_step_on_and_back(open_page, tmp_path, mixed, name):
    path = mixed if name == "mixed" else ROOT / "docs" / "animations" / f"{name}.html"
    convert(path, tmp_path / "r.json")
    page = open_page(path)
    last = page.evaluate("stacklessPlayer.last")
    assert last >= 5
    page.evaluate("stacklessPlayer.seek(0)")
    replay, wanted = Replay(load(tmp_path / "r.json")), []
    for step in range(last + 1):
        replay.seek(page.evaluate("stacklessPlayer.snapshot().events"))
        wanted.append(expected(replay))
        check(page, wanted[step], step, last)
        page.keyboard.press("ArrowRight")
    assert replay.count == len(replay.events)
    for step in range(last, -1, -1):
        check(page, wanted[step], step, last)
        page.keyboard.press("ArrowLeft")
    for step in (last // 2, 3, last, last // 3):
        page.evaluate(f"stacklessPlayer.seek({step})")
        check(page, wanted[step], step, last)
