// Draws tasklets, run queues, channels and the output.
import { FLAG, KIND, STATES, isBlocked, isOver } from "./model.js";
import { channelName, colour, escape, readable, shortName, taskletName } from "./words.js";

const FULL = 8; // maximum number of tasklets that are drawn with their stacks
const COMPACT = 40; // maximum number of tasklets that are drawn with their current line
const DENSE = 200; // maximum number of tasklets that are drawn; more are only counted
const RING = 14; // maximum number of tasklets of a run queue that is drawn as a ring
const CHANNELS = 24; // maximum number of channels that are drawn
const FRAMES = 9; // maximum number of calls that are drawn of a stack, the innermost ones

const cssState = (state) => STATES[state].replace(/\W+$/, "").replace(/\W+/g, "-");

// Scrolls a box, and nothing around it, until one of its elements is visible.
function reveal(box, element) {
  if (!element) return;
  const [outer, inner] = [box.getBoundingClientRect(), element.getBoundingClientRect()];
  if (inner.top < outer.top || inner.height > outer.height) box.scrollTop += inner.top - outer.top - 4;
  else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom + 4;
  if (inner.left < outer.left) box.scrollLeft += inner.left - outer.left - 4;
  else if (inner.right > outer.right) box.scrollLeft += inner.right - outer.right + 4;
}

// Places in a name where it may be broken, so that it is not broken within a word.
const breakable = (html) => html.replace(/([_.])(?=\w)/g, "$1<wbr>");

export class Stage {
  constructor(player) {
    this.player = player;
    this.filter = "";
    this.chosen = 0;
    this.depths = new Map();
    this.outputs = player.events.flatMap((e, i) => (e[1] === KIND.Output ? [i] : []));
    for (const id of ["rings", "channels", "tasklets"]) this[id] = document.getElementById(id);
    this.output = document.querySelector("#output pre");
  }

  draw(forward) {
    this.drawTasklets(forward);
    this.drawRings();
    this.drawChannels();
    this.drawOutput();
  }

  name(id) {
    return escape(taskletName(this.player, id));
  }

  matches(t) {
    const text = `${taskletName(this.player, t.id)} #${t.id} ${STATES[t.state]}`.toLowerCase();
    return this.filter.toLowerCase().split(/\s+/).every((word) =>
      word.startsWith("#") ? word === "#" || word === `#${t.id}` : text.includes(word));
  }

  drawTasklets(forward) {
    const all = [...this.player.model.tasklets.values()].filter((t) => this.matches(t));
    const alive = all.filter((t) => !isOver(t.state));
    all.sort((a, b) => a.id - b.id);
    const full = alive.length <= FULL;
    let html;
    const look = full ? "full" : alive.length > DENSE ? "counted" : alive.length > COMPACT ? "dense" : "compact";
    if (look === "counted") {
      html = this.counted(alive);
    } else if (look === "dense") {
      html = alive.map((t) => this.tile(t)).join("");
    } else {
      // When there are many, those that have ended are left out.
      const shown = full ? all : alive.sort((a, b) => a.id - b.id);
      html = shown.map((t) => this.card(t, full || t.state === STATES.indexOf("running"), forward)).join("");
    }
    this.tasklets.className = look;
    this.tasklets.parentElement.classList.toggle("crowded", look === "dense" || look === "counted");
    this.tasklets.innerHTML = html || `<p class="empty">${this.filter ? "No tasklet matches." : "No tasklets."}</p>`;
    reveal(this.tasklets, this.tasklets.querySelector(".running"));
    this.depths.clear();
    for (const t of all) this.depths.set(t.id, this.player.stack(t.stack).length);
  }

  card(t, full, forward) {
    const stack = this.player.stack(t.stack);
    const ran = this.player.ran(t.id, this.player.step);
    const chosen = t.id === this.chosen ? " chosen" : "";
    const where = t.channel ? ` ${escape(channelName(this.player, t.channel))}` : "";
    const text = t.value ? escape(readable(this.player.text(t.value))) : "";
    const waits = text && ["paused", "receives", "iterates"].includes(STATES[t.state]); // the text says for what
    const value = text && (isBlocked(t.state) || isOver(t.state) || STATES[t.state] === "in alt()")
      ? `<span class="value">${text}</span>` : "";
    const state = waits ? text : `${STATES[t.state]}${where} ${value}`;
    const short = shortName(this.player, t.id);
    const args = taskletName(this.player, t.id).slice(short.length);
    const head = `<header title="${this.name(t.id)}"><b>${breakable(escape(short))}</b><small>#${t.id}</small></header>
      ${full && args.length > 2 ? `<div class="args">${escape(args)}</div>` : ""}<div class="state"><i></i>${state}</div>`;
    return `<article class="tasklet ${cssState(t.state)}${chosen}" data-tasklet="${t.id}" data-state="${STATES[t.state]}"
      data-depth="${stack.length}" style="--c:${colour(t.id)}">${head}${full ? this.frames(t, stack, forward, ran) : this.line(stack)}</article>`;
  }

  // A small box: its name, and its state as a colour.
  tile(t) {
    const chosen = t.id === this.chosen ? " chosen" : "";
    const depth = this.player.stack(t.stack).length;
    const title = `${this.name(t.id)} #${t.id}: ${STATES[t.state]}`;
    return `<article class="tasklet ${cssState(t.state)}${chosen}" data-tasklet="${t.id}" data-state="${STATES[t.state]}"
      data-depth="${depth}" style="--c:${colour(t.id)}" title="${title}">${this.name(t.id)}</article>`;
  }

  line(stack) {
    return stack.length ? `<div class="at">${escape(stack[0].name.split(".").pop())}:${stack[0].line}</div>` : "";
  }

  frames(t, stack, forward, ran) {
    const before = this.depths.get(t.id) ?? 0;
    const rows = stack.slice(0, FRAMES).map((place, i) => {
      const isNew = forward && stack.length - i > before ? " new" : "";
      return `<li class="frame${isNew}${ran ? "" : " begins"}"><span>${escape(place.name.split("<locals>.").pop())}</span><small>${place.line || ""}</small></li>`;
    });
    if (stack.length > FRAMES) rows.push(`<li class="frame more">… ${stack.length - FRAMES} more calls</li>`);
    return `<ol class="stack">${rows.join("")}</ol>`;
  }

  // For too many tasklets to draw: a table of their numbers by function and state.
  counted(alive) {
    const groups = new Map();
    const states = new Map();
    for (const t of alive) {
      const name = taskletName(this.player, t.id).replace(/\(.*$/s, "");
      const group = groups.get(name) ?? groups.set(name, new Map()).get(name);
      group.set(t.state, (group.get(t.state) ?? 0) + 1);
      states.set(t.state, (states.get(t.state) ?? 0) + 1);
    }
    const size = (group) => [...group.values()].reduce((a, b) => a + b, 0);
    const bar = (group) => [...group].sort((a, b) => a[0] - b[0]).map(([state, count]) =>
      `<span class="${cssState(state)}" style="flex-grow:${count}" data-state="${STATES[state]}" data-count="${count}"
        title="${count} ${STATES[state]}">${count} ${STATES[state]}</span>`).join("");
    const rows = [...groups].sort((a, b) => size(b[1]) - size(a[1])).slice(0, 12).map(([name, group]) =>
      `<tr><th>${escape(name)}</th><td>${size(group)}</td><td><div class="bar">${bar(group)}</div></td></tr>`);
    const focus = alive.filter((t) => t.id === this.chosen || STATES[t.state] === "running").slice(0, 4);
    const partners = this.player.happened.flatMap((e) => [e.tasklet, e.other]);
    for (const id of partners) {
      const t = this.player.model.tasklets.get(id);
      if (t && focus.length < 4 && !focus.includes(t)) focus.push(t);
    }
    return `<table><caption>${alive.length.toLocaleString("en")} tasklets; filter to see single ones</caption>
      <tr class="all"><th>all</th><td>${alive.length}</td><td><div class="bar">${bar(states)}</div></td></tr>${rows.join("")}
      ${groups.size > 12 ? `<tr><th>… ${groups.size - 12} more functions</th></tr>` : ""}</table>
      <div class="focus">${focus.map((t) => this.card(t, true, false)).join("")}</div>`;
  }

  drawRings() {
    const { model } = this.player;
    this.rings.innerHTML = [...model.threads.values()].slice(0, 6).map((thread) => {
      const ring = model.ring(thread.id);
      const title = model.threads.size > 1 ? `Run queue, ${escape(this.player.text(thread.label))}` : "Run queue";
      const state = thread.asleep ? "asleep" : `${ring.length} runnable`;
      return `<div class="ring" data-thread="${thread.id}" data-ring="${ring.join(" ")}"><h2>${title}<small>${state}</small></h2>
        ${ring.length && ring.length <= RING ? this.circle(ring, thread.asleep) : this.list(ring)}</div>`;
    }).join("") + (model.threads.size > 6 ? `<p class="empty">and ${model.threads.size - 6} more threads</p>` : "");
  }

  list(ring) {
    if (!ring.length) return `<p class="empty">no tasklet can run</p>`;
    const names = ring.slice(0, 8).map((id) => `<li style="--c:${colour(id)}">${this.name(id)}</li>`);
    const more = ring.length > 8 ? `<li class="more">and ${ring.length - 8} more</li>` : "";
    return `<ol class="queue">${names.join("")}${more}</ol>`;
  }

  // The tasklets keep their places, with the lowest number at the top; the hand points to the
  // running one.
  circle(ring, asleep) {
    const first = ring.indexOf(Math.min(...ring));
    const order = [...ring.slice(first), ...ring.slice(0, first)];
    const radius = 52;
    const at = (i, r) => {
      const angle = (2 * Math.PI * i) / order.length - Math.PI / 2;
      return [110 + r * 1.0 * Math.cos(angle), 78 + r * Math.sin(angle)];
    };
    const nodes = order.map((id, i) => {
      const [x, y] = at(i, radius);
      const runs = id === ring[0] && !asleep;
      const name = taskletName(this.player, id);
      const plain = name.length > 14 ? name.replace(/\(.*$/s, "") : name;
      const short = plain.length > 14 ? `${plain.slice(0, 13)}…` : plain;
      const [tx, ty] = at(i, radius + 19);
      const anchor = Math.abs(tx - 110) < 12 ? "middle" : tx > 110 ? "start" : "end";
      const label = order.length <= 8
        ? `<text class="name" x="${tx}" y="${ty + 4}" text-anchor="${anchor}">${escape(short)}</text>` : "";
      return `<g class="${runs ? "runs" : ""}" style="--c:${colour(id)}"><circle cx="${x}" cy="${y}" r="${runs ? 13 : 11}"/>
        <text x="${x}" y="${y + 4}" text-anchor="middle">${id}</text><title>${escape(name)}</title>${label}</g>`;
    });
    const turn = (360 * order.indexOf(ring[0])) / order.length;
    const hand = asleep ? "" : `<path class="hand" style="transform:rotate(${turn}deg)" d="M110 78 V46 m-5 8 l5 -9 l5 9"/>`;
    return `<svg viewBox="-20 -8 260 176" role="img" aria-label="run queue"><circle class="track" cx="110" cy="78" r="${radius}"/>${hand}${nodes.join("")}</svg>`;
  }

  drawChannels() {
    const { model } = this.player;
    const recent = this.player.happened.map((e) => e.place);
    const all = [...model.channels.values()];
    const rank = (c) => (recent.includes(c.id) ? 2 : c.queue.length || c.buffer.length ? 1 : 0);
    const shown = all.length > CHANNELS ? all.sort((a, b) => rank(b) - rank(a)).slice(0, CHANNELS) : all;
    shown.sort((a, b) => a.id - b.id);
    const more = all.length - shown.length;
    this.channels.innerHTML = `<h2>Channels</h2>` + (shown.map((c) => this.pipe(c)).join("") ||
      `<p class="empty">none yet</p>`) + (more > 0 ? `<p class="empty">and ${more} more</p>` : "");
    const acted = recent.findLast((id) => model.channels.has(id));
    reveal(this.channels, acted ? this.channels.querySelector(`[data-channel="${acted}"]`) : null);
  }

  pipe(c) {
    const { model } = this.player;
    const balance = model.balance(c.id);
    const chip = (id) => {
      const t = model.tasklets.get(id);
      const value = t.value && STATES[t.state] === "sends" ? `<span class="value">${escape(readable(this.player.text(t.value)))}</span>` : "";
      return `<li data-waiting="${id}" style="--c:${colour(id)}" title="${this.name(id)}"><span>${escape(shortName(this.player, id))}</span>${value}</li>`;
    };
    const queue = (kind) => {
      const waiting = c.queue.filter((id) => (STATES[model.tasklets.get(id).state] === "sends") === (kind === "senders"));
      const more = waiting.length > 5 ? `<li class="more">+${waiting.length - 5}</li>` : "";
      return `<ol class="${kind}">${waiting.slice(0, 5).map(chip).join("")}${more}</ol>`;
    };
    const values = c.buffer.slice(0, 5).map((text) => `<span class="value">${escape(readable(this.player.text(text)) || "•")}</span>`);
    if (c.buffer.length > 5) values.push(`+${c.buffer.length - 5}`);
    const name = channelName(this.player, c.id);
    const prefers = ["receiver", "neither", "sender"][c.settings & 3];
    const marks = [
      c.settings & FLAG.SCHEDULE_ALL ? "schedule all" : prefers && prefers !== "receiver" ? `prefers ${prefers}` : "",
      c.settings & FLAG.CLOSING ? "closed" : "",
    ].filter(Boolean).join(", ");
    const sign = balance > 0 ? `+${balance}` : balance;
    const acts = this.player.happened.some((e) => e.place === c.id && e.kind !== KIND.Create && e.kind !== KIND.Link) ? " acts" : "";
    return `<div class="channel ${balance > 0 ? "plus" : balance < 0 ? "minus" : ""}${acts}" data-channel="${c.id}" data-balance="${balance}">
      ${queue("senders")}<div class="pipe"><b>${escape(name)}</b><span class="balance" title="balance">${sign}</span>
      ${values.length ? `<small class="buffer" title="buffer, the oldest value first">${values.join(" ")}</small>` : ""}
      ${marks ? `<small>${marks}</small>` : ""}</div>${queue("receivers")}</div>`;
  }

  drawOutput() {
    const { events, at } = this.player;
    let count = 0;
    for (let low = 0, high = this.outputs.length; ; ) {
      count = (low + high) >> 1;
      if (low >= high) break;
      if (this.outputs[count] < at) low = count + 1;
      else high = count;
    }
    const shown = this.outputs.slice(Math.max(0, count - 100), count);
    const parts = shown.map((i) => {
      const [, , flags, , tasklet, , , text] = events[i];
      const error = flags & FLAG.STDERR ? " error" : "";
      return `<span class="out${error}" style="--c:${colour(tasklet)}" title="${this.name(tasklet)}">${escape(this.player.text(text))}</span>`;
    });
    this.output.innerHTML = parts.join("");
    this.output.scrollTop = this.output.scrollHeight;
  }

  // Moves the value that was sent from one tasklet to the other.
  fly(milliseconds) {
    const e = this.player.happened.find((e) => e.kind === KIND.Transfer || e.kind === KIND.HandOver);
    if (!e || milliseconds < 120 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const [from, to] = e.flags & FLAG.SENDS ? [e.tasklet, e.other] : [e.other, e.tasklet];
    const box = (selector) => document.querySelector(selector)?.getBoundingClientRect();
    const boxes = [
      box(`[data-tasklet="${from}"] header`), box(`[data-channel="${e.place}"] .pipe`), box(`[data-tasklet="${to}"] header`),
    ];
    if (boxes.some((b) => !b)) return;
    const chip = document.createElement("div");
    chip.className = "flying";
    chip.textContent = readable(this.player.text(e.text)) || "•";
    chip.style.setProperty("--c", colour(from));
    document.body.append(chip);
    const frames = boxes.map((b) => ({
      transform: `translate(${b.x + b.width / 2 - chip.offsetWidth / 2}px, ${b.y + b.height / 2 - chip.offsetHeight / 2}px)`,
    }));
    chip.animate(frames, { duration: Math.min(900, milliseconds * 0.8), easing: "ease-in-out" }).onfinish = () => chip.remove();
  }
}
