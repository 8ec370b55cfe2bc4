// What every page does with scripts on: clocks that run, the theme button, copying an address, the "live" light.
// Nothing here is needed to read a page or to start and stop a game.
(() => {
  "use strict";

  // ---- Clocks. Their times come from the server, so they are counted on the server's clock.
  const offset = Number(document.documentElement.dataset.now) - Date.now() / 1000;
  const now = () => Date.now() / 1000 + offset;

  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  }

  function ago(seconds) {
    const whole = Math.floor(seconds);
    if (whole < 2) return "just now";
    if (whole < 60) return `${whole} s ago`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ago`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ago`;
    return `${Math.floor(whole / 86400)} d ago`;
  }

  const local = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const thisYear = new Intl.DateTimeFormat(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });

  function moment(date) {
    return (date.getFullYear() === new Date().getFullYear() ? thisYear : local).format(date);
  }

  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function turnClocks() {
    const at = now();
    for (const element of document.querySelectorAll("time[data-since]")) {
      say(element, duration(at - Number(element.dataset.since)));
    }
    for (const element of document.querySelectorAll("time[data-ago]")) {
      say(element, ago(at - Number(element.dataset.ago)));
    }
    for (const element of document.querySelectorAll("time[data-moment]")) {
      say(element, moment(new Date(Number(element.dataset.moment) * 1000)));
    }
  }

  // ---- Theme: light or dark, kept in the browser; without a choice the system decides.
  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function switchTheme() {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("manman-theme", next);
    } catch {
      // storage is switched off: the choice lasts for this page
    }
  }

  // ---- Copying an address.
  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1200);
    } catch {
      getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    }
  }

  function showScriptedParts() {
    for (const button of document.querySelectorAll(".copy[hidden], #theme[hidden]")) button.hidden = false;
  }

  // ---- The light that says whether the page follows.
  function pulse(state, word) {
    const light = document.getElementById("pulse");
    if (!light) return;
    light.hidden = false;
    light.dataset.state = state;
    say(light.querySelector(".pulse-word"), word);
  }

  document.addEventListener("htmx:sse:after:connection", () => pulse("on", "Live"));
  document.addEventListener("htmx:sse:error", () => pulse("off", "Reconnecting"));
  document.addEventListener("htmx:sse:close", () => pulse("off", "Not live"));
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection?.attempt > 0) pulse("off", "Reconnecting");
  });
  document.addEventListener("htmx:after:swap", () => {
    showScriptedParts();
    turnClocks();
    if (document.querySelector("#notice .note")) pulse("off", "Waiting");
    else if (document.getElementById("pulse")?.dataset.state === "off") pulse("on", "Live");
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    if (button?.id === "theme") switchTheme();
  });

  // A form is sent once: a second click while the answer is under way does nothing.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (event.target.dataset.sent) {
      event.preventDefault();
      return;
    }
    if (event.target.method === "post") {
      event.target.dataset.sent = "yes";
      for (const button of event.target.querySelectorAll("button[type=submit]")) button.setAttribute("aria-busy", "true");
    }
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
    }
  });

  showScriptedParts();
  turnClocks();
  setInterval(turnClocks, 1000);
})();
