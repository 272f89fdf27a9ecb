// The state of tasklets, channels and threads after any number of events, and moving between steps.
// The rules are those of crates/record/src/model.rs.

export const KIND = {
  Thread: 0, ThreadEnd: 1, Create: 2, Label: 3, Link: 4, Unlink: 5, Switch: 6, Transfer: 7, Throw: 8,
  Channel: 9, ChannelEnd: 10, Output: 11, Line: 12, Call: 13, Return: 14, Note: 15, HandOver: 16,
  Buffer: 17, Unbuffer: 18,
};

export const STATES = [
  "runnable", "sends", "receives", "iterates", "paused", "in run()", "ended", "failed", "killed",
  "running", "new", "met", "lost", "in alt()",
];
const [RUNNABLE, SENDS, , ITERATES, PAUSED, , ENDED, , KILLED, RUNNING, NEW, MET, LOST] = STATES.keys();

export const FLAG = { SENDS: 1, EXCEPTION: 2, STDERR: 1, SCHEDULE_ALL: 4, CLOSING: 8, BEFORE: 0x40, CONTINUES: 0x80 };

export const isBlocked = (state) => state >= SENDS && state <= ITERATES;
export const isOver = (state) => (state >= ENDED && state <= KILLED) || state === LOST;

// Maximum number of ended tasklets that are kept, so that the page can show that they have ended.
const REMEMBERED = 6;

export function event([time, kind, flags, thread, tasklet, other, place, text, stack]) {
  return { time, kind, flags, thread, tasklet, other, place, text, stack };
}

export class Model {
  constructor() {
    this.tasklets = new Map();
    this.channels = new Map();
    this.threads = new Map();
    this.over = []; // the last ones that ended, oldest first
  }

  clone() {
    const copy = new Model();
    for (const [n, t] of this.tasklets) copy.tasklets.set(n, { ...t });
    for (const [n, c] of this.channels) copy.channels.set(n, { ...c, queue: c.queue.slice(), buffer: c.buffer.slice() });
    for (const [n, t] of this.threads) copy.threads.set(n, { ...t });
    copy.over = this.over.slice();
    return copy;
  }

  // The tasklets of a thread's ring, the running one first.
  ring(thread) {
    const ring = [];
    const head = this.threads.get(thread)?.head ?? 0;
    for (let at = head; at; ) {
      ring.push(at);
      at = this.tasklets.get(at).next;
      if (at === head) break;
    }
    return ring;
  }

  balance(channel) {
    const { queue, buffer } = this.channels.get(channel) ?? { queue: [], buffer: [] };
    const sending = queue.filter((t) => this.tasklets.get(t).state === SENDS).length;
    return 2 * sending - queue.length + buffer.length;
  }

  // The running tasklet of the thread that an event happened in, 0 for none.
  running(thread) {
    const t = this.threads.get(thread);
    return t && !t.asleep ? t.head : 0;
  }

  apply(e) {
    if (e.tasklet) {
      const t = this.tasklet(e.tasklet, e.thread);
      t.stack = isOver(t.state) ? 0 : e.stack;
    }
    switch (e.kind) {
      case KIND.Thread: return this.begin(e);
      case KIND.ThreadEnd: return this.endThread(e.thread);
      case KIND.Create: return e.other && this.create(e);
      case KIND.Label: return e.other && (this.tasklet(e.other, e.thread).label = e.text);
      case KIND.Link: return e.other && this.enter(e);
      case KIND.Unlink:
        if (!e.other) return;
        this.tasklet(e.other, e.thread);
        this.leave(e.other);
        return this.settle(e.other, e);
      case KIND.Switch: return this.switch(e);
      case KIND.Transfer:
        if (!e.other) return;
        this.tasklet(e.other, e.thread);
        this.leave(e.other);
        return this.state(this.tasklet(e.other, e.thread), MET);
      case KIND.HandOver: return e.other && this.handOver(e);
      case KIND.Buffer:
        if (!e.place) return;
        if (e.other) {
          this.tasklet(e.other, e.thread);
          this.leave(e.other);
          this.state(this.tasklet(e.other, e.thread), MET);
        }
        return this.channel(e.place).buffer.push(e.text);
      case KIND.Unbuffer: return e.place && this.channel(e.place).buffer.shift();
      case KIND.Channel: return e.place && this.setChannel(e);
      case KIND.ChannelEnd: return this.endChannel(e);
    }
  }

  tasklet(id, thread) {
    let t = this.tasklets.get(id);
    if (!t) {
      t = { id, thread, state: NEW, label: 0, stack: 0, channel: 0, value: 0, next: 0, prev: 0 };
      this.tasklets.set(id, t);
    }
    return t;
  }

  state(t, state) {
    if (isOver(t.state) && !isOver(state)) this.over = this.over.filter((n) => n !== t.id);
    if (!isOver(t.state) && isOver(state)) {
      this.over.push(t.id);
      if (this.over.length > REMEMBERED) this.tasklets.delete(this.over.shift());
    }
    t.state = state;
  }

  begin(e) {
    this.leave(e.tasklet);
    this.tasklet(e.tasklet, e.thread).thread = e.thread;
    const thread = this.thread(e.thread);
    thread.main = e.tasklet;
    thread.label = e.text;
    this.link(e.tasklet, 0);
    this.runs(e.thread, e.tasklet);
  }

  thread(id) {
    let t = this.threads.get(id);
    if (!t) this.threads.set(id, (t = { id, main: 0, head: 0, asleep: false, label: 0 }));
    return t;
  }

  channel(id) {
    let c = this.channels.get(id);
    if (!c) this.channels.set(id, (c = { id, label: 0, settings: 0, queue: [], buffer: [] }));
    return c;
  }

  create(e) {
    this.leave(e.other);
    this.over = this.over.filter((n) => n !== e.other);
    this.tasklets.delete(e.other);
    const t = this.tasklet(e.other, e.thread);
    t.label = e.text;
    t.stack = e.place; // the place where it will begin
  }

  enter(e) {
    this.leave(e.other);
    this.tasklet(e.other, e.thread).thread = e.thread;
    this.link(e.other, e.place);
  }

  setChannel(e) {
    const c = this.channel(e.place);
    c.label = e.text;
    c.settings = e.flags;
  }

  endChannel(e) {
    const c = this.channels.get(e.place);
    if (!c) return;
    this.channels.delete(e.place);
    for (const id of c.queue) {
      const t = this.tasklet(id, e.thread);
      this.state(t, LOST);
      t.stack = t.channel = t.value = 0;
    }
  }

  endThread(thread) {
    this.threads.delete(thread);
    for (const t of [...this.tasklets.values()].filter((t) => t.thread === thread)) {
      t.next = t.prev = 0;
      if (!isOver(t.state) && !isBlocked(t.state)) {
        t.stack = 0;
        this.state(t, LOST);
      }
    }
  }

  switch(e) {
    const state = e.flags & 15;
    if (e.tasklet) {
      const t = this.tasklet(e.tasklet, e.thread);
      if (state === RUNNABLE) {
        if (!t.next) this.link(e.tasklet, 0);
        this.state(t, state);
      } else {
        this.leave(e.tasklet);
        this.settle(e.tasklet, e);
      }
    }
    this.continues(e);
  }

  continues(e) {
    if (!e.other) {
      this.thread(e.thread).asleep = true;
      return;
    }
    const t = this.tasklet(e.other, e.thread);
    if (!t.next) this.link(e.other, 0);
    this.runs(t.thread, e.other);
  }

  handOver(e) {
    this.tasklet(e.other, e.thread);
    const next = this.tasklets.get(e.tasklet)?.next ?? 0;
    this.link(e.other, next === e.other ? 0 : next);
    this.switch({ ...e, flags: RUNNABLE });
  }

  // Sets the state of a tasklet that is in no list to the one in the event.
  settle(id, e) {
    let state = e.flags & 15;
    if (state === RUNNABLE || state === RUNNING || (isBlocked(state) && !e.place)) state = PAUSED;
    const t = this.tasklet(id, e.thread);
    this.state(t, state);
    t.value = e.text;
    if (isOver(state)) t.stack = 0;
    if (isBlocked(state)) {
      t.channel = e.place;
      this.channel(e.place).queue.push(id);
    }
  }

  runs(thread, id) {
    const t = this.thread(thread);
    t.head = id;
    t.asleep = false;
    this.state(this.tasklets.get(id), RUNNING);
  }

  // Inserts a tasklet into its thread's ring: directly before another one, or at the end.
  link(id, before) {
    this.leave(id);
    const t = this.tasklets.get(id);
    const thread = this.thread(t.thread);
    const there = this.tasklets.get(before);
    const next = there && there.thread === t.thread && there.next ? before : thread.head;
    this.state(t, RUNNABLE);
    if (!next) {
      thread.head = t.next = t.prev = id;
      return;
    }
    const right = this.tasklets.get(next);
    t.next = next;
    t.prev = right.prev;
    this.tasklets.get(right.prev).next = id;
    right.prev = id;
  }

  // Removes a tasklet from the ring or the channel that it is in.
  leave(id) {
    const t = this.tasklets.get(id);
    if (!t) return;
    const { next, prev } = t;
    const channel = this.channels.get(t.channel);
    if (channel) channel.queue = channel.queue.filter((other) => other !== id);
    t.next = t.prev = t.channel = t.value = 0;
    if (!next) return;
    if (next !== id) {
      this.tasklets.get(next).prev = prev;
      this.tasklets.get(prev).next = next;
    }
    const thread = this.thread(t.thread);
    if (thread.head === id) thread.head = next === id ? 0 : next;
  }
}

// True if a step ends with event number i. Events of one operation are shown as one step.
function endsStep(events, i) {
  const e = event(events[i]);
  if (i + 1 >= events.length) return true;
  const next = event(events[i + 1]);
  if (next.flags & FLAG.CONTINUES || next.kind === KIND.Label) return false;
  if (e.kind === KIND.Channel || e.kind === KIND.ChannelEnd) return false;
  if (next.other !== e.other) return true;
  const then = (first, second) => e.kind === first && next.kind === second;
  return !(then(KIND.Transfer, KIND.Link) || then(KIND.Buffer, KIND.Link) || then(KIND.Throw, KIND.Link) || then(KIND.Link, KIND.Switch));
}

// A recording and the current step in it. To go back, the model starts at the key frame before.
export class Player {
  constructor(recording) {
    this.recording = recording;
    const events = (this.events = recording.events);
    let before = 0;
    while (before < events.length && events[before][2] & FLAG.BEFORE) before++;
    // stops[n]: number of events that have happened after step n.
    const stops = [before];
    for (let i = before; i < events.length; i++) if (endsStep(events, i)) stops.push(i + 1);
    this.stops = Int32Array.from(stops);
    this.frames = [];
    const model = new Model();
    let since = 0;
    for (let i = 0; i <= events.length; i++) {
      if (i === 0 || since > Math.max(500, 2 * model.tasklets.size)) {
        this.frames.push({ at: i, model: model.clone() });
        since = 0;
      }
      if (i < events.length) model.apply(event(events[i]));
      since++;
    }
    this.at = 0; // number of events that have happened
    this.model = new Model();
    this.step = 0;
    this.seek(0);
  }

  get last() {
    return this.stops.length - 1;
  }

  seek(step) {
    step = Math.max(0, Math.min(this.last, Math.round(step)));
    const target = this.stops[step];
    let low = 0;
    let high = this.frames.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.frames[middle].at <= target) low = middle;
      else high = middle;
    }
    const frame = this.frames[low];
    if (target < this.at || frame.at > this.at) {
      this.model = frame.model.clone();
      this.at = frame.at;
    }
    while (this.at < target) this.model.apply(event(this.events[this.at++]));
    this.step = step;
  }

  // The events of the current step.
  get happened() {
    if (this.step === 0) return [];
    return this.events.slice(this.stops[this.step - 1], this.stops[this.step]).map(event);
  }

  // How long it takes until the next step, in nanoseconds, if no tasklet of any thread runs; else 0.
  get sleeps() {
    const awake = [...this.model.threads.values()].some((t) => !t.asleep);
    const next = this.events[this.at];
    return awake || !next || !this.at ? 0 : next[0] - this.events[this.at - 1][0];
  }

  // The time of the current step since the recording began, in nanoseconds.
  get time() {
    return this.at ? this.events[this.at - 1][0] : 0;
  }

  // The text of the line of a call, if its source is known.
  line(place) {
    const source = place ? this.recording.files[place.file]?.source : "";
    if (!source) return "";
    this.sources ??= new Map();
    if (!this.sources.has(place.file)) this.sources.set(place.file, source.split("\n"));
    return this.sources.get(place.file)[place.line - 1] ?? "";
  }

  text(n) {
    return this.recording.texts[n] ?? "";
  }

  // A call stack, innermost call first.
  stack(n) {
    const places = [];
    while (n) {
      const [parent, name, file, line] = this.recording.stacks[n];
      places.push({ name: this.recording.functions[name], file, line });
      n = parent;
    }
    return places;
  }
}
