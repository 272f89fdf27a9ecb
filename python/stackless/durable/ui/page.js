// Keeps the page up to date: every two seconds it is loaded again, and what differs is replaced.
// Without this script the page works as well; it shows the state of when it was loaded.
"use strict";

const PERIOD = 2000;

/** What must not be replaced under the fingers of the user. */
function inUse(element) {
  const active = document.activeElement;
  const typed = [...element.querySelectorAll("input, select")].some(
    (field) => field.type !== "hidden" && field.value !== field.dataset.first,
  );
  return typed || (active !== document.body && element.contains(active)) ||
    !document.getSelection().isCollapsed;
}

function remember(root) {
  for (const field of root.querySelectorAll("input, select")) field.dataset.first = field.value;
}

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const element of document.querySelectorAll("[data-live]")) {
    const fresh = page.querySelector(`[data-live="${element.dataset.live}"]`);
    // Forms stay as they are while the workflow's state does.
    const same = element.dataset.state !== undefined && fresh !== null &&
      fresh.dataset.state === element.dataset.state;
    if (same || inUse(element)) continue;
    if (fresh === null) {
      element.replaceChildren();
      delete element.dataset.state;
    } else if (fresh.innerHTML !== element.innerHTML) {
      element.replaceWith(fresh);
      remember(fresh);
    }
  }
}

remember(document);
setInterval(() => refresh().catch(() => {}), PERIOD);  // the server may be away for a while
