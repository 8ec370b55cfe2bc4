// The session console: follows the log, keeps the newest lines, types into the game.
// Log text is only ever put in as text. A reconnect says which line came last, so none is missed or shown twice.
(() => {
  "use strict";

  const root = document.getElementById("console");
  if (!root) return;
  const log = root.querySelector("[data-log]");
  const state = root.querySelector("[data-state]");
  const newest = root.querySelector("[data-do=newest]");
  const behindText = root.querySelector("[data-behind]");
  const followButton = root.querySelector("[data-do=follow]");
  const form = root.querySelector("[data-prompt]");
  const input = form.elements.input;
  const note = root.querySelector("[data-note]");
  const maxLines = Number(root.dataset.maxLines);
  const NEAR_END_PX = 50;
  const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
  const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

  let source = null;
  let last = 0;
  let following = true;
  let behind = 0;
  let ended = false;
  let waiting = [];
  let drawing = false;

  function say(kind, text) {
    state.dataset.state = kind;
    state.textContent = text;
    state.title = "";
  }

  // ---- Lines
  function lineElement(line) {
    const row = document.createElement("div");
    row.className = `line line-${line.kind}`;
    if (line.at) {
      const at = new Date(line.at);
      const time = document.createElement("time");
      time.dateTime = at.toISOString();
      time.textContent = at.toTimeString().slice(0, 8);
      row.append(time);
    }
    const text = document.createElement("span");
    text.textContent = line.text;
    row.append(text);
    return row;
  }

  function add(line) {
    waiting.push(line);
    if (waiting.length > maxLines) waiting.splice(0, waiting.length - maxLines);
    if (!drawing) {
      drawing = true;
      setTimeout(draw, 30);
    }
  }

  function draw() {
    drawing = false;
    const rows = document.createDocumentFragment();
    for (const line of waiting) rows.append(lineElement(line));
    const count = waiting.length;
    waiting = [];
    log.append(rows);
    if (!following) {
      behind += count;
      showBehind();
    }
    // While somebody reads further up, old lines stay as long as they fit twice, so that the text does not slide away.
    const limit = following ? maxLines : maxLines * 2;
    while (log.childElementCount > limit) log.firstElementChild.remove();
    if (following) log.scrollTop = log.scrollHeight;
  }

  function showBehind() {
    newest.hidden = following;
    behindText.textContent = behind ? `${behind} new ${behind === 1 ? "line" : "lines"}` : "Newest";
  }

  function setFollowing(on) {
    if (following === on) return;
    following = on;
    if (on) {
      behind = 0;
      while (log.childElementCount > maxLines) log.firstElementChild.remove();
      log.scrollTop = log.scrollHeight;
    }
    followButton.setAttribute("aria-pressed", String(on));
    showBehind();
  }

  // ---- The stream
  function open() {
    if (ended || source) return;
    source = new EventSource(`${root.dataset.stream}?after=${last}`);
    source.addEventListener("open", () => say("on", "live"));
    source.addEventListener("message", (event) => {
      const number = Number(event.lastEventId);
      if (number <= last) return;
      last = number;
      const line = JSON.parse(event.data);
      const kind = ["stdout", "stderr", "host"].includes(line.from) ? line.from : "host";
      add({ at: line.at, kind, text: line.text.replace(ESCAPES, "").replace(CONTROLS, "") });
    });
    source.addEventListener("skipped", (event) => {
      add({ kind: "gap", text: `${JSON.parse(event.data)} lines skipped: this page could not keep up` });
    });
    source.addEventListener("ended", (event) => {
      ended = true;
      add({ kind: "gap", text: JSON.parse(event.data) });
      close();
      say("ended", "ended");
      lock();
    });
    source.addEventListener("trouble", (event) => {
      say("off", "reconnecting");
      state.title = JSON.parse(event.data);
    });
    source.addEventListener("error", () => {
      close();
      if (ended) return;
      if (state.dataset.state !== "off") say("off", "reconnecting");
      setTimeout(open, 2000);
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function lock() {
    input.disabled = true;
    input.placeholder = "The session is over";
    form.querySelector("button").disabled = true;
  }

  // A page in the background follows nothing; it catches up when it is looked at again.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);

  // ---- Tools
  log.addEventListener("scroll", () => {
    setFollowing(log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX);
  });

  const actions = {
    follow: () => setFollowing(!following),
    newest: () => setFollowing(true),
    clear: () => {
      log.replaceChildren();
      behind = 0;
      showBehind();
    },
    hide: (button) => {
      const hidden = root.classList.toggle("console-hidden");
      button.textContent = hidden ? "Show" : "Hide";
      button.setAttribute("aria-expanded", String(!hidden));
      if (!hidden && following) log.scrollTop = log.scrollHeight;
    },
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button) actions[button.dataset.do](button);
  });
  for (const box of root.querySelectorAll(".sources input")) {
    box.addEventListener("change", () => {
      log.classList.toggle(`without-${box.value}`, !box.checked);
      if (following) log.scrollTop = log.scrollHeight;
    });
  }

  // ---- Input, with the lines typed before on the arrow keys
  const typed = [];
  let position = 0;

  function complain(text) {
    note.textContent = text;
    note.hidden = !text;
  }

  async function send(line) {
    const body = new URLSearchParams({ input: line });
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error((await answer.text()) || `The server answered ${answer.status}`);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const line = input.value;
    if (!line.trim()) return;
    typed.push(line);
    if (typed.length > 100) typed.shift();
    position = typed.length;
    input.value = "";
    complain("");
    add({ at: Date.now(), kind: "input", text: line });
    setFollowing(true);
    try {
      await send(line);
    } catch (error) {
      complain(`Not sent: ${error.message}`);
      if (!input.value) input.value = line;
    }
    input.focus();
  });

  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    if (!typed.length) return;
    event.preventDefault();
    position = Math.min(typed.length, Math.max(0, position + (event.key === "ArrowUp" ? -1 : 1)));
    input.value = typed[position] ?? "";
  });

  root.querySelector("[data-tools]").hidden = false;
  say("wait", "connecting");
  open();
})();
