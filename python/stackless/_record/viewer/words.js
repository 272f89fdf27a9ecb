// The current step as a sentence, and the names of tasklets and channels.
import { FLAG, KIND, STATES } from "./model.js";

export const escape = (text) =>
  String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

export const colour = (id) => `var(--c${id % 8})`;

// A text with the usual repr of functions, classes and objects replaced by their names.
export const readable = (text) =>
  text.replace(/<(?:built-in )?(?:function|method|class|bound method) '?([\w.<>]*?[\w>])'?(?: at 0x[0-9a-f]+| of <[^<>]*>| of [^<>]*object at 0x[0-9a-f]+)?>/g,
    (_, name) => name.split("<locals>.").pop().replace(/^__main__\./, ""))
    .replace(/<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-f]*(>|…$)/g, (_, name, end) => `<${name}>${end === ">" ? "" : "…"}`);

const LONGEST = 44; // maximum number of characters of a name with its arguments

export function taskletName(player, id) {
  const name = readable(player.text(player.model.tasklets.get(id)?.label) || player.names.get(id) || `tasklet ${id}`);
  const open = name.indexOf("(");
  if (name.length <= LONGEST || open < 0) return name;
  // As many arguments as there is room for.
  const room = name.slice(0, LONGEST - 2);
  const comma = room.lastIndexOf(", ");
  return comma > open ? `${room.slice(0, comma)}, …)` : `${name.slice(0, open)}(…)`;
}

export const shortName = (player, id) => taskletName(player, id).replace(/\(.*$/s, "");

// A duration in nanoseconds as text.
export function seconds(ns) {
  const s = ns / 1e9;
  return s >= 1 ? `${s.toFixed(1)} s` : s >= 0.0995 ? `${s.toFixed(2)} s` : `${(s * 1000).toPrecision(2)} ms`;
}

export function channelName(player, id) {
  return `${player.text(player.model.channels.get(id)?.label) || "channel"}#${id}`;
}

// The last name of every tasklet of a recording, also of those that the model no longer has.
export function lastNames(recording) {
  const names = new Map();
  for (const [, kind, , , , other, , text] of recording.events) {
    if ((kind === KIND.Create || kind === KIND.Label) && text) names.set(other, recording.texts[text]);
  }
  return names;
}

export function sentence(player) {
  const events = player.happened;
  if (!events.length) {
    return player.recording.dropped
      ? `The recording begins here. ${player.recording.dropped.toLocaleString("en")} older events were dropped.`
      : "Press → for the first step, or space to play.";
  }
  const named = (id) =>
    id ? `<b class="name" style="--c:${colour(id)}">${escape(taskletName(player, id))}</b>` : "a thread";
  const what = (text) => `<code>${escape(readable(player.text(text)) || "a value")}</code>`;
  const valueOf = (e) => `${e.flags & FLAG.EXCEPTION ? "the exception " : ""}${what(e.text)}`;
  const where = (id) => `<b>${escape(channelName(player, id))}</b>`;
  const rank = [
    KIND.HandOver, KIND.Transfer, KIND.Unbuffer, KIND.Buffer, KIND.Throw, KIND.Switch, KIND.Create, KIND.Unlink, KIND.Link,
    KIND.ThreadEnd, KIND.Thread, KIND.Note, KIND.Output, KIND.Return, KIND.Call, KIND.Line, KIND.Channel,
  ];
  const main = rank.map((kind) => events.find((e) => e.kind === kind)).find(Boolean) ?? events[0];
  const linked = events.some((e) => e.kind === KIND.Link && e.other === main.other);
  const started = (id) => !player.ran(id, player.step);
  const on = (id) =>
    id ? `${named(id)} ${started(id) ? "starts" : "continues"}.` : `No tasklet can run: the thread sleeps${slept()}.`;
  const e = main;
  switch (e.kind) {
    case KIND.HandOver:
    case KIND.Transfer: {
      const value = valueOf(e);
      const act = e.flags & FLAG.SENDS
        ? `${named(e.tasklet)} sends ${value} on ${where(e.place)}: ${named(e.other)} was waiting for it`
        : `${named(e.tasklet)} receives ${value} from ${named(e.other)}, which was waiting to send it on ${where(e.place)}`;
      return e.kind === KIND.HandOver
        ? `${act} and continues at once.`
        : `${act}${linked ? ", and is runnable again" : ""}. ${named(e.tasklet)} continues.`;
    }
    case KIND.Unbuffer: {
      const next = events.find((e) => e.kind === KIND.Buffer);
      const freed = next ? ` There is room for ${what(next.text)} now: ${named(next.other)} is runnable again.` : "";
      return `${named(e.tasklet)} receives ${valueOf(e)} out of the buffer of ${where(e.place)}.${freed}`;
    }
    case KIND.Buffer:
      return `${named(e.tasklet)} sends ${valueOf(e)} into the buffer of ${where(e.place)}, and continues.`;
    case KIND.Throw:
      return `${named(e.tasklet)} raises ${what(e.text)} in ${named(e.other)}.`;
    case KIND.Create:
      return `${named(e.tasklet)} makes ${named(e.other)}${linked ? ", which waits at the end of the run queue" : ""}.`;
    case KIND.Link:
      return `${named(e.other)} is runnable: it joins the run queue.`;
    case KIND.Unlink:
      return e.place
        ? `${named(e.other)} waits on ${where(e.place)}.`
        : `${named(e.other)} leaves the run queue: ${STATES[e.flags & 15]}.`;
    case KIND.Switch:
      return switched(e);
    case KIND.Thread:
      return `A thread begins to use tasklets; ${named(e.tasklet)} runs.`;
    case KIND.ThreadEnd:
      return "A thread has ended.";
    case KIND.Output:
      return `${named(e.tasklet)} prints <code>${escape(player.text(e.text).trimEnd())}</code>`;
    case KIND.Return:
      if (top(e) === "<module>") return `${named(e.tasklet)} has run ${file(e)}.`;
      return `${named(e.tasklet)}: <code>${escape(top(e))}()</code> returns${player.text(e.text) === "None" ? "" : ` ${what(e.text)}`}.`;
    case KIND.Call:
      if (top(e) === "<module>") return `${named(e.tasklet)} begins to run ${file(e)}.`;
      return `${named(e.tasklet)} calls <code>${escape(top(e))}()</code>.`;
    case KIND.Line:
      return `${named(e.tasklet)} ${does(e)}.`;
    case KIND.Note:
      return escape(player.text(e.text));
    case KIND.Channel:
      return `The channel ${where(e.place)}${e.flags & FLAG.CLOSING ? " is closed" : " is set up"}.`;
    default:
      return "";
  }

  function top(e) {
    return player.stack(e.stack)[0]?.name.split(".").pop() ?? "?";
  }

  function file(e) {
    return `<code>${escape(recordedFile(e)?.name.split("/").pop() ?? "a module")}</code>`;
  }

  function recordedFile(e) {
    return player.recording.files[player.stack(e.stack)[0]?.file];
  }

  // What a line does: its text, without indentation and comment, if that says something.
  function does(e) {
    const place = player.stack(e.stack)[0];
    const code = player.line(place).trim().replace(/\s+#[^'"]*$/, "");
    const defined = /^(?:async )?(def|class) (\w+)/.exec(code);
    if (defined) return defined[1] === "def" ? `defines <code>${defined[2]}()</code>` : `defines the class <code>${defined[2]}</code>`;
    if (!code || /^[rbfu]*["']/i.test(code)) return `is at line ${place?.line ?? "?"}`;
    return `runs <code>${escape(code)}</code>`;
  }

  function slept() {
    const ns = player.sleeps;
    return ns >= 1e6 ? ` ${seconds(ns)}` : "";
  }

  function switched(e) {
    if (!e.tasklet) return e.other ? `The thread wakes. ${on(e.other)}` : `The thread sleeps${slept()}.`;
    const me = named(e.tasklet);
    switch (STATES[e.flags & 15]) {
      case "sends":
        return `${me} sends ${what(e.text)} on ${where(e.place)}. No tasklet receives, so it waits. ${on(e.other)}`;
      case "receives":
      case "iterates":
        if (e.text) return `${me} is ${escape(player.text(e.text))}. ${on(e.other)}`;
        return `${me} receives from ${where(e.place)}. No tasklet sends, so it waits. ${on(e.other)}`;
      case "paused":
        if (e.text) return `${me} is ${escape(player.text(e.text))}. ${on(e.other)}`;
        return `${me} leaves the run queue. ${on(e.other)}`;
      case "in alt()":
        return `${me} waits for the first of these: ${what(e.text)}. ${on(e.other)}`;
      case "in run()":
        return `${me} waits in <code>run()</code> until the others have ended. ${on(e.other)}`;
      case "ended":
        return `${me} has ended. ${on(e.other)}`;
      case "failed":
      case "killed":
        return `${me} is ended by ${what(e.text)}. ${on(e.other)}`;
      default:
        return `${me} lets the next one run. ${on(e.other)}`;
    }
  }
}
