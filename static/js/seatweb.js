// Seatweb in the browser: what HTML and htmx do not do by themselves.
// Everything here is an addition: without it, links and forms do the same.
// What hold.js and live.js use of it is `window.seatweb`, at the end.

(() => {
  "use strict";

  const root = document.documentElement;
  root.classList.add("js");

  const find = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const seats = (from) => all("a.seat", from);
  const panel = () => find("#panel:not([hidden])");

  /* --- The announcement: short words about what happened. --- */

  function say(kind, text, link = null) {
    for (const region of all("#announcement .say")) region.replaceChildren();
    const region = find(kind === "alert" ? "#say-alert" : "#say-status");
    if (!region || !text) return;
    const line = document.createElement("p");
    const words = document.createElement("span");
    words.textContent = text;
    if (link) {
      const way = document.createElement("a");
      way.href = link.href;
      way.textContent = link.text;
      words.append(" ", way);
    }
    line.append(words);
    region.append(line);
    dismissible();
  }

  // An alert stays until it is closed or something else is done.
  function dismissible() {
    const line = find("#say-alert > p");
    if (!line || find(".say-dismiss", line)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "say-dismiss";
    button.setAttribute("aria-label", "Close this message");
    button.textContent = "×";
    line.append(button);
  }

  const NO_ANSWER = "No answer came. Check your connection; the map may be old. Reload the page to see how things stand.";
  const WORDS = {
    401: "You are not signed in any more. Sign in and try again.",
    403: "This page was open for too long. Reload it and try again.",
    404: "This is not there any more. Reload the page.",
    429: "That was too often. Wait a moment and try again.",
    502: "Seatweb is away for a moment. Try again soon.",
    503: "Too much is going on just now. Try again in a moment.",
    504: "Seatweb is away for a moment. Try again soon.",
  };

  /* --- The map by keyboard: one stop for Tab in each section, arrows walk the seats. --- */

  const order = (seat) => [Number(seat.dataset.row), Number(seat.dataset.column)];
  const section = (seat) => seat.closest(".section");

  function rove() {
    for (const room of all(".section")) {
      const here = seats(room);
      const stop =
        here.find((seat) => seat === document.activeElement) ??
        here.find((seat) => seat.hasAttribute("aria-current")) ??
        here.find((seat) => seat.dataset.status === "mine") ??
        here.find((seat) => seat.dataset.status === "free") ??
        here[0];
      for (const seat of here) {
        const stops = seat === stop ? "0" : "-1";
        if (seat.getAttribute("tabindex") !== stops) seat.setAttribute("tabindex", stops);
      }
    }
  }

  function neighbour(seat, key) {
    const [row, column] = order(seat);
    const here = seats(section(seat));
    const across = key === "ArrowLeft" || key === "ArrowRight";
    const way = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;

    let best = null;
    let least = Infinity;
    for (const other of here) {
      const [r, c] = order(other);
      const ahead = (across ? c - column : r - row) * way;
      const aside = Math.abs(across ? r - row : c - column);
      if (ahead <= 0 || (across && aside)) continue;
      const far = ahead * 100 + aside;
      if (far < least) [best, least] = [other, far];
    }
    return best ?? beyond(seat, across, way);
  }

  // At the edge: the nearest seat of another section in that direction, as it looks on the screen.
  function beyond(seat, across, way) {
    const middle = (box) => [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const [x, y] = middle(seat.getBoundingClientRect());
    let best = null;
    let least = Infinity;
    for (const other of seats()) {
      if (section(other) === section(seat)) continue;
      const [ox, oy] = middle(other.getBoundingClientRect());
      const ahead = (across ? ox - x : oy - y) * way;
      const aside = Math.abs(across ? oy - y : ox - x);
      if (ahead <= 1 || (across && aside > ahead * 2)) continue;
      const far = ahead + aside * 2;
      if (far < least) [best, least] = [other, far];
    }
    return best;
  }

  function walk(event) {
    const seat = event.target.closest?.("a.seat");
    if (!seat || event.altKey || event.metaKey) return;
    let next = null;
    if (event.key.startsWith("Arrow") && !event.ctrlKey) next = neighbour(seat, event.key);
    else if (event.key === "Home" || event.key === "End") {
      const here = seats(section(seat)).filter((other) => event.ctrlKey || other.dataset.row === seat.dataset.row);
      next = event.key === "Home" ? here[0] : here.at(-1);
    } else if (event.key === " ") {
      event.preventDefault();
      seat.click();
      return;
    } else return;
    event.preventDefault();
    if (!next || next === seat) return;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /* --- The panel: which seat it is of, where the focus goes, and that it does not cover its seat. --- */

  let opened = null; // the id of the seat whose panel was open

  function settle(quietly = false) {
    const open = panel();
    const id = open?.dataset.seatId ?? null;
    for (const seat of seats()) {
      if (seat.dataset.seatId === id) seat.setAttribute("aria-current", "true");
      else seat.removeAttribute("aria-current");
    }
    if (id && !quietly) uncover(open, document.getElementById(`seat-${id}`));
    else if (!id && opened && (document.activeElement === document.body || !document.activeElement)) {
      document.getElementById(`seat-${opened}`)?.focus({ preventScroll: true });
    }
    opened = id;
    const title = (open ?? find("#day"))?.dataset.title;
    if (title) document.title = title;
    rove();
    dismissible();
  }

  function uncover(sheet, seat) {
    if (!seat) return;
    const box = seat.getBoundingClientRect();
    const floor = getComputedStyle(sheet).position === "fixed" ? innerHeight - sheet.offsetHeight : innerHeight;
    const room = 24;
    if (box.bottom + room > floor) scrollBy({ top: box.bottom + room - floor });
    else if (box.top - room < 0) scrollBy({ top: box.top - room });
  }

  /* --- htmx: what is asked, what comes back, what does not. --- */

  // What the page asks by itself: the live map, the hold of a panel that opened, a look at how things are.
  const byItself = (ctx) => Boolean(ctx.quiet) || ctx.sourceElement?.matches?.(".live, form#hold");

  const asked = new Set(); // what people asked for and is not answered yet
  let sending = 0; // actions among it: until their answer is here, nothing else is asked
  const looks = new Set(); // looks at how things are, below

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.quiet) looks.add(ctx);
    if (event.defaultPrevented || byItself(ctx)) return;
    if (!root.classList.contains("offline")) say("status", "");
    asked.add(ctx);
    if (ctx.request.method === "POST") sending += 1;
    root.classList.toggle("sending", sending > 0);
    for (const button of all("button", ctx.sourceElement)) button.setAttribute("aria-busy", "true");
  });

  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    looks.delete(ctx);
    if (!asked.delete(ctx)) return;
    if (ctx.request.method === "POST") sending -= 1;
    root.classList.toggle("sending", sending > 0);
    for (const button of all("[aria-busy]", ctx.sourceElement)) button.removeAttribute("aria-busy");
  });

  for (const type of ["click", "submit"]) {
    document.addEventListener(
      type,
      (event) => {
        if (!sending || !event.target.closest?.("[hx-get], [hx-post]")) return;
        event.preventDefault();
        event.stopPropagation();
      },
      true,
    );
  }

  // A whole page instead of a part: go there if all is well (after a sign-in, say), else tell why not.
  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    if (!ctx.response) return; // a change of the live map
    // What went wrong with something that nobody asked for is not told either.
    if (byItself(ctx) && ctx.hx.retarget === "#announcement") {
      event.preventDefault();
      return;
    }
    // Every answer of ours names its request; what a proxy says while we are away does not.
    const ours = ctx.response.raw.headers.has("x-request-id");
    if (ctx.target === document.body || (ours && !/^\s*<!doctype/i.test(ctx.text ?? ""))) return;
    event.preventDefault();
    if (byItself(ctx)) return;
    const { status, raw } = ctx.response;
    if (status < 400 && ours) location.assign(raw.url);
    else say("alert", WORDS[status] ?? "That did not work, and it was not your doing. Reload the page and try again.");
  });

  // The same address twice in a row would make the back button seem dead.
  document.addEventListener("htmx:before:history:update", ({ detail: { history: entry } }) => {
    if (entry.path === location.pathname + location.search) entry.type = "replace";
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => settle(byItself(ctx) && !ctx.hx?.retarget));

  document.addEventListener("htmx:error", ({ detail: { ctx, error } }) => {
    if (!ctx || byItself(ctx)) return;
    if (error.name === "Untrusted") say("alert", "What came back was not Seatweb's own, and was left out. Reload the page.");
    else say("alert", navigator.onLine ? NO_ANSWER : OFFLINE);
  });

  // Nobody leaves the page for what it asked by itself, signed out or not.
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (!byItself(ctx) || !ctx.hx?.redirect) return;
    event.preventDefault();
    if (ctx.sourceElement.matches("form#hold")) signedOut();
  });

  function signedOut() {
    const back = encodeURIComponent(location.pathname + location.search);
    say("alert", "You were signed out.", { href: `/login?next=${back}`, text: "Sign in again" });
  }

  /* --- A look at how things are, without a word: nothing is announced, no focus moves, nothing scrolls. --- */

  // Not while people wait for an answer or choose a day: it would take things out of their hands.
  const busy = () => asked.size + looks.size > 0 || document.activeElement?.id === "day-field";

  function shown() {
    const { day, query } = find("#day").dataset;
    return `/days/${day}${panel() ? `/seats/${panel().dataset.seatId}` : ""}${query}`;
  }

  function look(part = "day") {
    if (!find("#day") || !window.htmx) return Promise.resolve();
    const target = panel() ? "#panel" : "#day";
    return htmx.ajax("GET", shown(), { source: find("#plan"), target, swap: "outerMorph", push: "false", quiet: part });
  }

  function leaveOut(tasks, unwanted) {
    tasks.splice(0, tasks.length, ...tasks.filter((task) => !unwanted(task.target)));
  }

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    if (!ctx.quiet || event.defaultPrevented) return;
    if (ctx.request.action !== shown()) {
      event.preventDefault(); // people went elsewhere meanwhile
      return;
    }
    leaveOut(tasks, (target) => target?.id === "announcement" || (target?.id === "day" && ctx.quiet === "panel"));
    for (const { fragment } of tasks) {
      for (const element of all("[autofocus]", fragment)) element.removeAttribute("autofocus");
    }
    const open = panel();
    const focus = open?.contains(document.activeElement) ? document.activeElement : null;
    ctx.before = { seat: open?.dataset.seatId, status: open?.dataset.status, focus, does: focus && does(focus) };
  });

  const does = (control) => control.form?.action ?? control.href;

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    const open = panel();
    if (!ctx.before || !open || open.dataset.seatId !== ctx.before.seat) return;
    const { focus, does: did, status } = ctx.before;
    // A button that does something else now must not be pressed by mistake.
    if (focus && (document.activeElement !== focus || does(focus) !== did)) find("#panel-name").focus();
    tell(open.dataset, status);
  });

  // What others did is told only of the chosen seat, and only where it makes a difference to the one who chose it.
  function tell({ label, status, nearest }, before) {
    const went = { taken: "was taken a moment ago", held: "is being chosen by someone else", closed: "was closed" };
    if (before === "free" && went[status]) {
      const offer = nearest ? `${nearest} is free.` : "No other seat is free on this day.";
      say("alert", `${label} ${went[status]}. ${offer}`);
    } else if (status === "free" && before !== "free" && before !== "mine") say("status", `${label} is free again.`);
  }

  /* --- Without a network. --- */

  const OFFLINE = "You are offline. The map shows how things were; nothing can be booked until you are back.";

  function network() {
    const wasOffline = root.classList.contains("offline");
    root.classList.toggle("offline", !navigator.onLine);
    if (!navigator.onLine) say("alert", OFFLINE);
    else if (wasOffline) look().then(() => say("status", "You are back online."));
  }

  function show(address, push = true) {
    const target = find("#day");
    if (!target || !window.htmx || panel()) location.assign(address);
    else htmx.ajax("GET", address, { target, swap: "outerMorph", push: String(push) });
  }

  /* --- Clocks that run down. They count from their arrival: two computers never agree on the time. --- */

  const begun = new Map(); // when a clock came: by the token of one's own hold, or by element

  function tick() {
    const [steady, wall] = [performance.now(), Date.now()];
    for (const clock of all("#panel .clock")) {
      const key = clock.closest("#hold")?.dataset.token ?? clock;
      if (!begun.has(key)) begun.set(key, { steady, wall });
      const begin = begun.get(key);
      // The steady clock stands still while some computers sleep; the other one does not.
      const gone = Math.max(steady - begin.steady, wall - begin.wall);
      const left = Math.max(0, Math.ceil(clock.dataset.seconds - gone / 1000));
      if (left === begin.left) continue;
      begin.left = left;
      clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      clock.dispatchEvent(new CustomEvent("clock", { bubbles: true, detail: left }));
    }
  }

  setInterval(tick, 250);

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    // The time that is left of someone else's hold may have come anew.
    const anew = !ctx.sourceElement?.matches?.(".live");
    for (const key of begun.keys()) if (anew && key instanceof Element) begun.delete(key);
    tick();
  });

  document.addEventListener("clock", ({ target, detail }) => {
    if (!detail && target.closest(".panel-wait")) look("panel");
  });

  /* --- Forms that leave the page: sent once, and seen to be on their way. --- */

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.hasAttribute("hx-post") || form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "true";
    for (const button of all("button[type=submit]", form)) button.setAttribute("aria-busy", "true");
  });

  addEventListener("pageshow", () => {
    for (const form of all("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of all("[aria-busy]", form)) button.removeAttribute("aria-busy");
    }
  });

  /* --- Small comforts. --- */

  function prepare() {
    for (const button of all(".reveal[hidden]")) button.hidden = false;
    opened = panel()?.dataset.seatId ?? null;
    if (styled()) uncoverOpened();
    else addEventListener("load", uncoverOpened);
    rove();
    dismissible();
    network();
  }

  // WebKit may run this before the style sheet is there; only then is it known what covers what.
  const styled = () => all("link[rel=stylesheet]").every((link) => link.sheet);

  function uncoverOpened() {
    if (opened) uncover(panel(), document.getElementById(`seat-${opened}`));
  }

  // A day from the browser's calendar is gone to at once; one that is typed, with Enter.
  let typed = 0;

  document.addEventListener("change", ({ target }) => {
    if (target.id !== "day-field" || Date.now() - typed < 2000 || !target.value || !target.checkValidity()) return;
    target.blur();
    show(`/days/${target.value}${find("#day").dataset.query}`);
  });

  document.addEventListener("click", (event) => {
    const target = event.target;
    const reveal = target.closest?.(".reveal");
    if (reveal) {
      const input = document.getElementById(reveal.dataset.reveal);
      const shown = input.type === "password";
      input.type = shown ? "text" : "password";
      reveal.textContent = shown ? "Hide" : "Show";
      reveal.setAttribute("aria-label", `${reveal.textContent} the password`);
    }
    if (target.closest?.(".say-dismiss")) say("status", "");
    if (target.closest?.("#other-day") && !target.closest("button")) {
      try {
        find("#day-field").showPicker();
      } catch {
        // The field is there to type in.
      }
    }
  });

  // htmx takes clicks that should open a new tab as well; let the browser have them.
  document.addEventListener(
    "click",
    (event) => {
      if ((event.ctrlKey || event.metaKey || event.shiftKey) && event.target.closest?.("a[href][hx-get]")) {
        event.stopPropagation();
      }
    },
    true,
  );

  document.addEventListener("keydown", (event) => {
    if (event.target.id === "day-field") typed = Date.now();
    if (event.key === "Escape") {
      if (event.target.closest?.("#other-day")) event.target.blur();
      else if (panel()) find(".panel-close").click();
      return;
    }
    walk(event);
  });

  document.addEventListener("focusin", ({ target }) => {
    if (!target.matches?.("a.seat")) return;
    for (const seat of seats(section(target))) seat.tabIndex = seat === target ? 0 : -1;
  });

  addEventListener("online", network);
  addEventListener("offline", network);

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", prepare);
  else prepare();

  Object.assign(window.seatweb, { find, all, seats, panel, say, busy, look, leaveOut, signedOut });
})();
