// Seatweb in the browser: what HTML and htmx do not do by themselves.
// Everything here is an addition: without it, links and forms do the same.
// What the other scripts use of it is `window.seatweb`, at the end.

(() => {
  "use strict";

  const root = document.documentElement;
  const base = new URL("../..", document.currentScript.src).pathname.slice(0, -1); // the path of the site: "" or "/seats"
  const path = () => location.pathname.slice(base.length) || "/";
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

  // Messages stand clear of the panel: above it, or beside it (seatweb.css).
  const measured = new ResizeObserver(([{ target }]) => {
    const box = target.getBoundingClientRect(); // zero while the panel is hidden
    const below = box.width > innerWidth / 2;
    const beside = box.width && !below;
    root.style.setProperty("--panel-below", `${below ? innerHeight - box.top : 0}px`);
    root.style.setProperty("--panel-beside", `${beside ? innerWidth - box.left : 0}px`);
  });

  function measure() {
    measured.disconnect();
    const sheet = find("#panel");
    if (sheet) measured.observe(sheet);
  }

  document.addEventListener("htmx:after:swap", measure);

  const NO_ANSWER = "No response. Check your connection and reload.";
  const WORDS = {
    401: "You were signed out. Sign in and try again.",
    403: "This page has expired. Reload it and try again.",
    404: "This is no longer here. Reload the page.",
    429: "Too many attempts. Wait a moment and try again.",
    502: "Seatweb cannot be reached right now. Try again in a moment.",
    503: "The site is busy. Try again in a moment.",
    504: "Seatweb cannot be reached right now. Try again in a moment.",
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
    const { left, top } = sheet.getBoundingClientRect();
    const covers = getComputedStyle(sheet).position === "fixed" && left < box.right; // from below, not beside the map
    const floor = covers ? top : innerHeight;
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

  // Undo stays on offer while people look around, and until its own answer is here.
  function offersUndo({ request, sourceElement }) {
    const button = find("#say-status .undo button");
    return button && (request.method === "GET" || sourceElement?.contains(button));
  }

  // What has faded away is not on offer any more.
  document.addEventListener("animationend", ({ target, animationName }) => {
    if (animationName === "leave") find("button", target)?.remove();
  });

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.quiet) looks.add(ctx);
    if (event.defaultPrevented || byItself(ctx)) return;
    if (!root.classList.contains("offline") && !offersUndo(ctx)) say("status", "");
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
    else say("alert", WORDS[status] ?? "Something went wrong on our side. Reload the page and try again.");
  });

  // The same address twice in a row would make the back button seem dead.
  document.addEventListener("htmx:before:history:update", ({ detail: { history: entry } }) => {
    if (entry.path === location.pathname + location.search) entry.type = "replace";
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => settle(byItself(ctx) && !ctx.hx?.retarget));

  document.addEventListener("htmx:error", ({ detail: { ctx, error } }) => {
    if (!ctx || byItself(ctx)) return;
    if (error.name === "Untrusted") say("alert", "The response was blocked because it looked tampered with.");
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
    const back = encodeURIComponent(path() + location.search);
    say("alert", "You were signed out.", { href: `${base}/login?next=${back}`, text: "Sign in again" });
  }

  /* --- Stray presses: a held key, a double click, a second tap. --- */

  // A press is meant for what its user saw. So whatever a swap has just brought, moved or changed ignores presses for a
  // moment; the class `fresh` shows that meanwhile.
  const MOMENT = 500; // ms: longer than a double click takes, shorter than reading what is new

  const until = new WeakMap(); // when a control heeds presses again
  let focused = null; // the control that a swap gave the focus to, or changed while it had the focus
  let shifted = -Infinity; // when a swap last brought, moved or changed a control
  let refresh = 0;

  const does = (control) => `${control.form?.action ?? (control.id || control.href)} ${control.getAttribute("aria-current")}`;
  const isFresh = (control) => until.get(control) > performance.now();

  // What all controls do, where they stand, and whether the panel covers them.
  function stances(kind) {
    const open = panel();
    const sheet = open?.getBoundingClientRect();
    return all(kind).map((control) => {
      const { x, y, right, bottom } = control.getBoundingClientRect();
      const apart = !sheet || right < sheet.left || x > sheet.right || bottom < sheet.top || y > sheet.bottom;
      const covered = !apart && !open.contains(control);
      return [control, `${does(control)} ${Math.round(x)} ${Math.round(y)} ${covered}`];
    });
  }

  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
    const focus = document.activeElement;
    const kind = byItself(ctx) ? "button, a[href]:not(.seat)" : "button, a[href]"; // there may be very many seats
    const before = new Map(stances(kind).map(([control, stance]) => [stance, until.get(control) ?? 0]));
    ctx.stood = { focus, did: does(focus), kind, before };
  });

  // After the other listeners, which may move the focus and scroll.
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => queueMicrotask(() => arrive(ctx.stood)));

  function arrive({ focus, did, kind, before }) {
    const now = performance.now();
    for (const [control, stance] of stances(kind)) {
      if (!before.has(stance)) shifted = now;
      until.set(control, before.get(stance) ?? now + MOMENT);
    }
    const { activeElement } = document;
    if (activeElement !== focus || does(activeElement) !== did) {
      focused = activeElement;
      until.set(focused, now + MOMENT);
    }
    showFresh();
  }

  function showFresh() {
    const fresh = all("button, a[href]").filter(isFresh);
    for (const control of all(".fresh")) if (!isFresh(control)) control.classList.remove("fresh");
    for (const control of fresh) control.classList.add("fresh");
    clearTimeout(refresh);
    if (fresh.length) refresh = setTimeout(showFresh, Math.min(...fresh.map((one) => until.get(one))) - performance.now());
  }

  function ignore(event) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  document.addEventListener(
    "click",
    (event) => {
      const control = event.target.closest?.("button, a[href]");
      // By keyboard (no `detail`), people may go on to what they saw before; only a focus that a swap moved surprises them.
      if (control && isFresh(control) && (event.detail || control === focused)) ignore(event);
    },
    true,
  );

  let held = null; // the key that is held down: wherever the focus goes, it presses nothing until it is released

  document.addEventListener(
    "keydown",
    (event) => {
      const { key, target, repeat } = event;
      const presses = key === "Enter" ? !target.matches?.("textarea") : key === " " && target.closest?.("a, button, summary");
      if (!presses) return;
      if (repeat) held = key;
      if (held === key) ignore(event);
    },
    true,
  );

  document.addEventListener(
    "keyup",
    (event) => {
      if (event.key !== held) return;
      held = null;
      if (event.target.closest?.("a, button, summary")) event.preventDefault(); // a button is pressed when Space is released
    },
    true,
  );

  addEventListener("blur", () => (held = null));

  // The chosen seat, pressed again, and the ground beside the panel close it.
  document.addEventListener(
    "click",
    (event) => {
      const { target } = event;
      const open = panel();
      if (!open || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const again = target.closest?.("a.seat")?.dataset.seatId === open.dataset.seatId;
      const ground = target.closest?.("main") && !target.closest("#panel, a, button, label, input, form, summary, dialog, [popover]");
      if (!again && !(ground && performance.now() >= shifted + MOMENT && getSelection().isCollapsed)) return;
      ignore(event);
      closePanel();
    },
    true,
  );

  const closePanel = () => find(".panel-close").click();

  /* --- A look at how things are, without a word: nothing is announced, no focus moves, nothing scrolls. --- */

  // Not while people wait for an answer: it would take things out of their hands.
  const busy = () => asked.size + looks.size > 0;

  // The part of the page that shows days, and says until when its "Today" is right: the map, the calendar or My bookings.
  const part = () => find("[data-midnight]");

  function shown() {
    if (part().id !== "day" || (path() === "/" && !panel())) return location.pathname + location.search;
    const { day, query } = part().dataset;
    return `${base}/days/${day}${panel() ? `/seats/${panel().dataset.seatId}` : ""}${query}`;
  }

  function look(quiet = "day") {
    if (!part() || !window.htmx) return Promise.resolve();
    const target = panel() ? "#panel" : `#${part().id}`;
    return htmx.ajax("GET", shown(), { source: part().parentElement, target, swap: "outerMorph", push: "false", quiet });
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
    const went = { taken: "was booked a moment ago", held: "is on hold for someone else", closed: "was closed" };
    if (before === "free" && went[status]) {
      const offer = nearest ? `${nearest} is free.` : "No other seat is free on this day.";
      say("alert", `${label} ${went[status]}. ${offer}`);
    } else if (status === "free" && before !== "free" && before !== "mine") say("status", `${label} is free again.`);
  }

  /* --- Without a network. --- */

  const OFFLINE = "You are offline. The map may be out of date, and you cannot book until you are back online.";

  function network() {
    const wasOffline = root.classList.contains("offline");
    root.classList.toggle("offline", !navigator.onLine);
    if (!navigator.onLine) say("alert", OFFLINE);
    else if (wasOffline) look().then(() => say("status", "You are back online."));
  }

  /* --- Another day: at once, by the week above the map, or by the calendar. --- */

  function show(address) {
    const source = find("#calendar-link");
    if (!source || !window.htmx) location.assign(address);
    else htmx.ajax("GET", address, { source, target: "#day", swap: "outerMorph", push: "true" });
  }

  // After choosing a day, people continue at its heading; after stepping to another week, on the arrow if it is there.
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.target?.id !== "day" || byItself(ctx)) return;
    const chosen = ctx.sourceElement?.matches?.(".weekday, #calendar-link");
    const lost = ctx.request.method === "GET" && document.activeElement === document.body;
    if (chosen || lost) find("#day-name").focus({ preventScroll: true });
  });

  const added = new Map(); // the files of the calendar, by address: loaded once, when it is first opened

  function add(element, integrity) {
    const address = element.href ?? element.src;
    const loaded = new Promise((done, failed) => {
      Object.assign(element, { integrity, onload: done, onerror: failed });
    });
    if (!added.has(address)) {
      added.set(address, loaded);
      loaded.catch(() => added.delete(address));
      document.head.append(element);
    }
    return added.get(address);
  }

  async function openCalendar(link) {
    const { script, scriptIntegrity, style, styleIntegrity } = find("#calendar-dialog").dataset;
    try {
      const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
      const code = Object.assign(document.createElement("script"), { src: window.seatweb.script(script) });
      await Promise.all([add(sheet, styleIntegrity), add(code, scriptIntegrity)]);
      await window.seatweb.openCalendar(link);
    } catch {
      location.assign(link.href); // the same, as a page
    }
  }

  // After midnight "Today" is another day. Pages look within a minute, each at another time, or when the computer wakes up,
  // and again every minute until the site's clock agrees.
  setInterval(() => Date.now() >= part()?.dataset.midnight && lookSoon(), 60_000);

  const lookSoon = () => (busy() ? setTimeout(lookSoon, 1000) : look());

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

  /* --- Back and forward pass over a form that is done: signed-in users are redirected from "Sign in" and "Register". --- */

  function passOver() {
    const { activation, currentEntry } = window.navigation ?? {};
    const [load] = performance.getEntriesByType("navigation");
    const elsewhere = /^\/(?:login|account\/second-factor)/.test(path()); // one has to do something there first
    if (activation?.navigationType !== "traverse" || !activation.from || !load?.redirectCount || elsewhere) return;
    const entries = navigation.entries();
    const way = Math.sign(currentEntry.index - activation.from.index);
    const from = activation.from.getState()?.from ?? activation.from.url; // not a form that was passed over just before
    navigation.updateCurrentEntry({ state: { from } });
    let next = currentEntry.index + way;
    // The page that led to the form and the one that came after it are often the same.
    while (entries[next]?.url === from && (entries[next + way] || history.length > entries.length)) next += way;
    history.go(next - currentEntry.index);
  }

  /* --- Small comforts. --- */

  function prepare() {
    passOver();
    for (const button of all(".reveal[hidden]")) button.hidden = false;
    opened = panel()?.dataset.seatId ?? null;
    measure();
    if (styled()) uncoverOpened();
    else addEventListener("load", uncoverOpened);
    for (const control of all("#panel :is(button, a[href])")) until.set(control, performance.now() + MOMENT);
    showFresh();
    rove();
    dismissible();
    network();
  }

  // WebKit may run this before the style sheet is there; only then is it known what covers what.
  const styled = () => all("link[rel=stylesheet]").every((link) => link.sheet);

  function uncoverOpened() {
    if (opened) uncover(panel(), document.getElementById(`seat-${opened}`));
  }

  document.addEventListener("click", (event) => {
    const target = event.target;
    const reveal = target.closest?.(".reveal");
    if (reveal) {
      const input = document.getElementById(reveal.dataset.reveal);
      const shown = input.type === "password";
      input.type = shown ? "text" : "password";
      reveal.textContent = shown ? "Hide" : "Show";
      reveal.setAttribute("aria-label", `${reveal.textContent} password`);
    }
    if (target.closest?.(".say-dismiss")) say("status", "");
    const calendar = target.closest?.("#calendar-link");
    if (calendar && window.htmx && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      openCalendar(calendar);
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
    if (event.key === "Escape") {
      if (panel() && !find("dialog[open]")) closePanel();
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

  window.seatweb = { ...window.seatweb, base, path, find, all, seats, panel, say, busy, look, show, leaveOut, signedOut };
})();
