// Draws when each tasklet ran: one row for each tasklet, or for each thread if there are many.
import { KIND, FLAG } from "./model.js";
import { lastNames } from "./words.js";

const ROWS = 12;
const COLOURS = 8;

export class Timeline {
  constructor(player) {
    this.player = player;
    this.canvas = document.querySelector("#timeline canvas");
    this.cursor = document.getElementById("cursor");
    this.collect();
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
  }

  // Collects runs as [first step, last step, tasklet, thread], and the first step of each tasklet.
  collect() {
    const { events, stops } = this.player;
    const runs = [];
    const open = new Map(); // the run that has not ended, by thread
    const firsts = new Map(); // the first step in which it runs, by tasklet
    const steps = new Map(); // the steps that concern it, by tasklet
    let step = 0;
    const runsNow = (thread, tasklet) => {
      const run = open.get(thread);
      if (run) run[1] = step;
      open.delete(thread);
      if (!tasklet) return;
      const next = [step, step, tasklet, thread];
      open.set(thread, next);
      runs.push(next);
      if (!firsts.has(tasklet)) firsts.set(tasklet, step);
    };
    events.forEach(([, kind, flags, thread, tasklet, other, , , stack], i) => {
      while (step < stops.length - 1 && stops[step] <= i) step++;
      if (flags & FLAG.BEFORE && stack && tasklet && !firsts.has(tasklet)) firsts.set(tasklet, 0);
      if (kind === KIND.Thread) runsNow(thread, tasklet);
      else if (kind === KIND.Switch || kind === KIND.HandOver) runsNow(thread, other);
      else if (kind === KIND.ThreadEnd) runsNow(thread, 0);
      for (const id of [tasklet, other]) {
        if (!id || step === 0) continue;
        const list = steps.get(id) ?? steps.set(id, []).get(id);
        if (list[list.length - 1] !== step) list.push(step);
      }
    });
    for (const thread of [...open.keys()]) {
      step = this.player.last;
      runsNow(thread, 0);
    }
    this.runs = runs;
    this.player.names = lastNames(this.player.recording);
    this.player.ran = (id, before) => (firsts.get(id) ?? Infinity) < before;
    this.steps = steps;
    const ids = [...new Set(runs.map((run) => run[2]))].sort((a, b) => a - b);
    this.byTasklet = ids.length <= ROWS;
    this.rows = this.byTasklet ? ids : [...new Set(runs.map((run) => run[3]))].sort((a, b) => a - b);
  }

  draw() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [box.width, box.height];
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const colours = Array.from({ length: COLOURS }, (_, i) => style.getPropertyValue(`--c${i}`).trim());
    const row = height / Math.max(1, this.rows.length);
    const places = new Map(this.rows.map((id, i) => [id, i * row]));
    const x = (step) => (step / Math.max(1, this.player.last)) * width;
    context.fillStyle = style.getPropertyValue("--line");
    for (const y of places.values()) context.fillRect(0, y + row / 2 - 0.5, width, 1);
    for (const [first, last, tasklet, thread] of this.runs) {
      const y = places.get(this.byTasklet ? tasklet : thread);
      context.fillStyle = colours[tasklet % COLOURS];
      context.fillRect(x(first), y + row * 0.12, Math.max(1, x(last) - x(first)), Math.max(1, row * 0.76));
    }
    this.move();
  }

  move() {
    this.cursor.style.left = `${(this.player.step / Math.max(1, this.player.last)) * 100}%`;
  }

  // The step at a horizontal position of the page.
  stepAt(clientX) {
    const box = this.canvas.getBoundingClientRect();
    return ((clientX - box.left) / box.width) * this.player.last;
  }

  // The next (or previous) step that concerns a tasklet.
  near(id, step, direction) {
    const list = this.steps.get(id) ?? [];
    return direction > 0 ? list.find((s) => s > step) : list.findLast((s) => s < step);
  }
}
