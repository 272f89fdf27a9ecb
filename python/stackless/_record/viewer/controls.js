// The main script: creates the views, moves between steps, and handles keys, buttons and speed.
import { KIND, Player, STATES } from "./model.js";
import { sentence } from "./words.js";
import { SourceView } from "./source.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const SPEEDS = [0.5, 1, 2, 4, 10, 30, 100, 1000];
const LONGEST_SLEEP = 10_000; // milliseconds; a longer one is not waited for to its end
const byId = (id) => document.getElementById(id);

const began = performance.now();
const recording = JSON.parse(byId("recording").textContent);
const player = new Player(recording);
const timeline = new Timeline(player);
const source = new SourceView(player);
const stage = new Stage(player);

let playing = false;
let speed = 1;
let due = 0; // time of the next step, in milliseconds of performance.now()
let thread = 0; // the thread whose source is shown
let drawn = -1;

function draw() {
  const step = player.step;
  const forward = step === drawn + 1;
  const last = player.happened.at(-1);
  if (last?.thread) thread = last.thread;
  if (!player.model.threads.has(thread)) thread = [...player.model.threads.keys()][0] ?? 0;
  stage.draw(forward);
  source.draw(player.model.running(thread));
  byId("words").innerHTML = sentence(player);
  byId("count").textContent = `${step.toLocaleString("en")} / ${player.last.toLocaleString("en")}`;
  byId("clock").textContent = `${(player.time / 1e9).toFixed(3)} s`;
  byId("scrub").value = step;
  timeline.move();
  if (forward) stage.fly(playing ? 1000 / speed : 700);
  drawn = step;
}

function seek(step) {
  player.seek(step);
  draw();
}

function jump(step) {
  setPlaying(false);
  seek(step);
}

function setPlaying(on) {
  playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (player.step >= player.last) seek(0);
  due = performance.now() + 1000 / speed;
  requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  if (now >= due) {
    const steps = Math.max(1, Math.floor(((now - due) * speed) / 1000) + 1);
    due += (steps * 1000) / speed;
    if (now - due > 1000) due = now; // the page was not visible
    // While no tasklet can run, time passes as it did in the program.
    const ahead = Math.min(steps, Math.ceil(speed));
    for (let i = 0; i < ahead && !(i && player.sleeps); i++) player.seek(player.step + 1);
    draw();
    due = Math.max(due, now + Math.min(LONGEST_SLEEP, player.sleeps / 1e6));
    if (player.step >= player.last) setPlaying(false);
  }
  requestAnimationFrame(tick);
}

function setSpeed(index) {
  const at = Math.max(0, Math.min(SPEEDS.length - 1, index));
  speed = SPEEDS[at];
  byId("speed").selectedIndex = at;
  due = performance.now() + 1000 / speed;
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  timeline.draw();
}

function setSize(change) {
  const root = document.documentElement;
  const size = parseFloat(getComputedStyle(root).fontSize) + change;
  root.style.fontSize = `${Math.max(9, Math.min(36, size))}px`;
}

function near(direction) {
  const id = stage.chosen || player.model.running(thread);
  const step = timeline.near(id, player.step, direction);
  if (step !== undefined) jump(step);
}

function choose(event) {
  const card = event.target.closest("[data-tasklet], [data-waiting]");
  if (!card) return;
  const id = Number(card.dataset.tasklet ?? card.dataset.waiting);
  stage.chosen = stage.chosen === id ? 0 : id;
  stage.draw(false);
}

const KEYS = {
  " ": () => setPlaying(!playing),
  ArrowRight: (e) => (e.shiftKey ? near(1) : jump(player.step + 1)),
  ArrowLeft: (e) => (e.shiftKey ? near(-1) : jump(player.step - 1)),
  PageDown: () => jump(player.step + 100),
  PageUp: () => jump(player.step - 100),
  Home: () => jump(0),
  End: () => jump(player.last),
  "+": () => setSpeed(byId("speed").selectedIndex + 1),
  "=": () => setSpeed(byId("speed").selectedIndex + 1),
  "-": () => setSpeed(byId("speed").selectedIndex - 1),
  "[": () => setSize(-2),
  "]": () => setSize(2),
  f: () => byId("filter").focus(),
  t: () => byId("theme").click(),
  "?": () => byId("help").click(),
};

function connect() {
  document.title = `${recording.title} – Stackless recording`;
  byId("title").textContent = recording.title;
  const dropped = recording.dropped ? ` · ${recording.dropped.toLocaleString("en")} older ones dropped` : "";
  const lost = recording.lost ? ` · ${recording.lost.toLocaleString("en")} texts not kept` : "";
  byId("about").textContent = `${recording.python} · ${player.events.length.toLocaleString("en")} events${dropped}${lost}`;
  byId("scrub").max = player.last;
  byId("speed").innerHTML = SPEEDS.map((s) => `<option>${s}/s</option>`).join("");
  setSpeed(1);
  const click = (id, action) => byId(id).addEventListener("click", action);
  click("first", () => jump(0));
  click("back", () => jump(player.step - 1));
  click("play", () => setPlaying(!playing));
  click("forward", () => jump(player.step + 1));
  click("last", () => jump(player.last));
  click("smaller", () => setSize(-2));
  click("larger", () => setSize(2));
  click("help", () => byId("keys").showModal());
  click("theme", () => setTheme(getComputedStyle(document.documentElement).colorScheme !== "dark"));
  byId("tasklets").addEventListener("click", choose);
  byId("channels").addEventListener("click", choose);
  byId("scrub").addEventListener("input", (e) => jump(Number(e.target.value)));
  byId("speed").addEventListener("change", (e) => setSpeed(e.target.selectedIndex));
  byId("filter").addEventListener("input", (e) => {
    stage.filter = e.target.value.trim();
    stage.draw(false);
  });
  const scrub = (e) => e.buttons & 1 && jump(timeline.stepAt(e.clientX));
  byId("timeline").addEventListener("pointerdown", scrub);
  byId("timeline").addEventListener("pointermove", scrub);
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || byId("keys").open) return;
    if (e.target === byId("filter")) {
      if (e.key === "Escape" || e.key === "Enter") e.target.blur();
      return;
    }
    const action = KEYS[e.key];
    if (!action || e.target.tagName === "SELECT") return;
    e.preventDefault();
    action(e);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.draw());
  window.addEventListener("hashchange", fromHash);
}

// The address page.html#step=12 starts at that step.
function fromHash() {
  const match = /step=(\d+)/.exec(location.hash);
  if (match) jump(Number(match[1]));
}

// The shown state as data, for tests and other programs that control the page.
function snapshot() {
  const { model } = player;
  const tasklets = {};
  for (const t of model.tasklets.values()) {
    const stack = player.stack(t.stack);
    tasklets[t.id] = {
      state: STATES[t.state], label: player.text(t.label), value: player.text(t.value), channel: t.channel,
      stack: stack.map((p) => [p.name, p.line]),
    };
  }
  const channels = {};
  for (const c of model.channels.values()) channels[c.id] = { balance: model.balance(c.id), queue: c.queue, buffer: c.buffer.map((n) => player.text(n)) };
  const rings = {};
  for (const t of model.threads.keys()) rings[t] = model.ring(t);
  return { step: player.step, events: player.at, tasklets, channels, rings };
}

// The step before the first tasklet is made: the steps before it are rarely of interest.
function opening() {
  const first = player.events.findIndex((e, i) => e[1] === KIND.Create && i >= player.stops[0]);
  return first < 0 ? 0 : player.stops.findIndex((stop) => stop > first) - 1;
}

connect();
seek(opening());
fromHash();
window.stacklessPlayer = {
  get step() { return player.step; },
  get last() { return player.last; },
  get playing() { return playing; },
  seek: jump,
  snapshot,
  loadMilliseconds: performance.now() - began,
};
