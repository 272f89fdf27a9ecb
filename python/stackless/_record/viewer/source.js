// Shows the source, with the current line of the running tasklet and the lines where others wait.
import { escape, colour, taskletName } from "./words.js";
import { isOver } from "./model.js";

const WORDS =
  "False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|" +
  "global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield";
const TOKEN = new RegExp(
  `(?<c>#.*)|(?<s>[rbfu]{0,2}(?:"(?:\\\\.|[^"\\\\])*"|'(?:\\\\.|[^'\\\\])*'))|(?<k>\\b(?:${WORDS})\\b)|(?<n>\\b\\d[\\w.]*)`,
  "g",
);

function coloured(line) {
  let html = "";
  let at = 0;
  for (const match of line.matchAll(TOKEN)) {
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    html += escape(line.slice(at, match.index)) + `<i class="${kind}">${escape(match[0])}</i>`;
    at = match.index + match[0].length;
  }
  return html + escape(line.slice(at));
}

// Lines inside a triple-quoted string get one colour.
function colouredLines(text) {
  let inside = "";
  return text.split("\n").map((line) => {
    const quotes = line.match(/"""|'''/g) ?? [];
    const was = inside;
    for (const quote of quotes) inside = inside === "" ? quote : inside === quote ? "" : inside;
    return was || inside || quotes.length ? `<i class="s">${escape(line)}</i>` : coloured(line);
  });
}

export class SourceView {
  constructor(player) {
    this.player = player;
    this.file = -1;
    this.box = document.getElementById("source");
    this.title = document.getElementById("file");
    this.marked = [];
  }

  // The innermost call of a tasklet whose source is known.
  place(id) {
    const t = this.player.model.tasklets.get(id);
    const places = t ? this.player.stack(t.stack) : [];
    return places.find((p) => this.player.recording.files[p.file].source) ?? places[0];
  }

  draw(running) {
    const { model, recording } = this.player;
    const place = this.place(running);
    if (place && place.file !== this.file) this.open(place.file);
    else if (!place && this.file < 0) {
      const known = recording.files.findIndex((file) => file.source);
      if (known >= 0) this.open(known);
    }
    for (const line of this.marked) {
      line.className = "line";
      line.firstChild.innerHTML = "";
    }
    this.marked = [];
    let shown = 0;
    for (const t of model.tasklets.values()) {
      if (t.id === running || isOver(t.state) || !t.stack || ++shown > 500) continue;
      const at = this.place(t.id);
      if (at?.file === this.file) this.mark(at.line, t.id, false);
    }
    if (place) this.mark(place.line, running, true);
  }

  mark(number, id, current) {
    const line = this.box.children[number - 1];
    if (!line) return;
    this.marked.push(line);
    const dots = line.firstChild;
    if (dots.childElementCount < 2 || (current && dots.childElementCount < 3)) {
      const name = escape(taskletName(this.player, id));
      dots.insertAdjacentHTML("beforeend", `<b style="--c:${colour(id)}" title="${name}">${id}</b>`);
    } else if (!dots.lastChild.dataset.more) {
      dots.insertAdjacentHTML("beforeend", `<b data-more="1" title="and more">+</b>`);
    }
    if (current) {
      line.className = "line current";
      line.style.setProperty("--c", colour(id));
      const top = line.offsetTop;
      const { scrollTop, clientHeight } = this.box;
      const room = clientHeight / 5;
      if (top < scrollTop + room || top > scrollTop + clientHeight - room) {
        this.box.scrollTop = top - clientHeight / 3;
      }
    } else if (!line.classList.contains("current")) {
      line.className = "line waits";
    }
  }

  open(number) {
    const file = this.player.recording.files[number];
    this.file = number;
    this.marked = [];
    this.title.textContent = file.name;
    if (!file.source) {
      this.box.innerHTML = `<p class="empty">The source of ${escape(file.name)} is not in the recording.</p>`;
      return;
    }
    const source = file.source.replace(/\n$/, "");
    const indents = source.split("\n").map((line) => line.length - line.trimStart().length);
    // A long line is wrapped; its other parts are indented more than its first one.
    this.box.innerHTML = colouredLines(source)
      .map((html, i) => `<div class="line" data-line="${i + 1}"><span class="dots"></span><span class="no">${i + 1}</span><code style="--in:${Math.min(indents[i] + 4, 10)}ch">${html || " "}</code></div>`)
      .join("");
  }
}
