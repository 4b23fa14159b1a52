// The live map: the stream of the day, its sign, and what to do without it. htmx's extension hx-sse reads and swaps
// the stream; when to ask for one is decided here, for the first time and every other. Its messages tell their state in
// a tag such as `A:25,B:20,h:0`: the generation of every section, and a hash of the holds.

(() => {
  "use strict";

  const { find, seats, panel, busy, look, leaveOut, signedOut } = window.seatweb;

  const SILENCE = 40_000; // the server says something every 15 s
  const PATIENCE = 3_500; // without a stream the page looks for itself, so often
  const LONGEST = 30_000; // between two tries

  const place = () => find(".live");
  const ofLive = (ctx) => Boolean(ctx.sourceElement?.matches?.(".live"));
  const now = () => performance.now();

  let asking = null; // the request for a stream that is on its way
  let stream = null; // of hx-sse, once the server answered
  let alive = false; // the stream has said something
  let heard = now(); // when it did last, or when it was lost
  let looked = now(); // when the page looked for itself last
  let tries = 0;
  let timer = 0;
  let ended = false; // signed out: for good

  let at = null; // the id of the element that the tag is of: a day, or a section of it
  let tag = null; // the state that the page shows
  let coming = null; // the state that the message brings
  let changed = 0; // when the stream changed the page last
  let mine = null; // the seat of the viewer, as told and not seen to yet
  let owed = false; // the page differs from what was told, and was busy

  /* --- The stream: one at a time, none in the background, and always another try. --- */

  function sign(state) {
    const element = place();
    if (element) element.dataset.live = state;
  }

  function connect() {
    clearTimeout(timer);
    const element = place();
    if (element) window.htmx?.ajax("GET", element.getAttribute("hx-sse:connect"), { source: element });
  }

  function retry(least = 0) {
    clearTimeout(timer);
    timer = setTimeout(connect, Math.max(least, Math.min(500 * 2 ** tries, LONGEST)) * (1 + Math.random() / 2));
    tries += 1;
  }

  function lose() {
    stream = null;
    alive = false;
    heard = now();
    sign("catching-up");
  }

  function drop() {
    const reader = stream?.reader;
    lose();
    reader?.cancel();
  }

  function again() {
    tries = 0;
    drop();
    connect();
  }

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    ctx.asked = now();
    if (!ofLive(ctx)) return;
    if (ended || stream || asking?.sourceElement.isConnected || document.hidden) event.preventDefault();
    else {
      asking = ctx;
      if (at !== ctx.sourceElement.id) [at, tag, mine] = [ctx.sourceElement.id, null, null];
      if (tag) ctx.request.headers["Last-Event-ID"] = tag;
    }
  });

  document.addEventListener("htmx:sse:after:connection", ({ detail: { connection } }) => {
    if (connection.url !== asking?.request.action) return;
    stream = connection;
    heard = now();
  });

  // The request is over when its stream begins, or when there will be none.
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    if (ctx !== asking) return;
    asking = null;
    if (stream) return;
    if (ctx.response?.status === 404) setTimeout(dayIsOver, 1000 + 4000 * Math.random());
    else retry(1000 * Number(ctx.response?.headers.get("retry-after") ?? 0));
  });

  document.addEventListener("htmx:sse:close", ({ detail: { connection, reason } }) => {
    if (connection !== stream) return;
    lose();
    if (reason === "ended") retry();
  });

  function dayIsOver() {
    if (location.pathname === "/") location.reload();
    else look();
  }

  /* --- What it says. --- */

  document.addEventListener("htmx:sse:before:message", ({ detail: { connection, message } }) => {
    if (connection !== stream) return;
    alive = true;
    heard = now();
    tries = 0;
    coming = message.id;
  });

  document.addEventListener("status", ({ detail: { data } }) => sign(data));

  document.addEventListener("mine", ({ detail: { data } }) => {
    mine = data;
    agree();
  });

  document.addEventListener("bye", () => {
    ended = true;
    lose();
    sign("off");
    signedOut();
  });

  function generations(text) {
    const parts = text.split(",").map((part) => part.split(":"));
    return parts.filter(([name]) => name !== "h").map(([name, number]) => [name, Number(number)]);
  }

  const room = (name) => document.getElementById(`section-${name}`);
  const before = new Map(); // the status of every seat before the message

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    if (event.defaultPrevented) return;
    if (!ofLive(ctx)) meet(ctx, tasks);
    else if (coming) {
      // An answer to this page may have been faster than the news of the same: what is older is left out.
      for (const [name, number] of generations(coming)) {
        const section = room(name);
        if (Number(section?.dataset.generation) > number) leaveOut(tasks, (target) => section.contains(target));
      }
      before.clear();
      for (const seat of seats()) before.set(seat.id, seat.dataset.status);
    }
  });

  document.addEventListener("htmx:sse:after:message", ({ detail: { connection, message } }) => {
    if (connection !== stream || message.event || !message.id) return;
    tag = message.id;
    changed = now();
    for (const [name, number] of generations(tag)) {
      const section = room(name);
      if (Number(section?.dataset.generation) < number) section.dataset.generation = number;
    }
    if (before.size) for (const seat of seats()) if (before.get(seat.id) !== seat.dataset.status) flash(seat);
    agree();
  });

  function flash(seat) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    seat.animate(
      { boxShadow: ["0 0 0 0 color-mix(in srgb, var(--ink) 50%, transparent)", "0 0 0 0.5rem transparent"] },
      { duration: 600, easing: "ease-out" },
    );
  }

  /* --- An answer that brings the day: it may be older than what the stream has told since it was asked for. --- */

  function meet(ctx, tasks) {
    for (const { fragment } of tasks) {
      const element = find(".live", fragment);
      if (element?.id !== at || !at) continue;
      const state = new URL(element.getAttribute("hx-sse:connect"), location).searchParams.get("since");
      ctx.stale = changed > ctx.asked && state !== tag;
      tag = state;
    }
  }

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.stale) again();
  });

  /* --- What the page shows beside the map, and what was told, must agree. --- */

  function agree() {
    const open = panel();
    const seat = open && document.getElementById(`seat-${open.dataset.seatId}`);
    const seatDiffers = Boolean(seat) && seat.dataset.status !== open.dataset.status;
    const mineDiffers = mine !== null && mine !== (find("#ticket")?.dataset.mine ?? "");
    owed = seatDiffers || mineDiffers;
    if (!mineDiffers) mine = null;
    if (!owed || busy()) return;
    owed = false;
    mine = null;
    look(mineDiffers ? "day" : "panel");
  }

  /* --- Twice a second: has it fallen silent? --- */

  setInterval(() => {
    if (document.hidden || ended || !place()) return;
    if (owed) agree();
    const silence = now() - heard;
    if (stream && silence > SILENCE) again();
    if (!alive && silence > PATIENCE && now() - looked > PATIENCE && navigator.onLine && !busy()) {
      looked = now();
      look();
    }
  }, 500);

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) drop();
    else again();
  });
  addEventListener("pagehide", drop);
  addEventListener("pageshow", ({ persisted }) => persisted && again());
  addEventListener("offline", () => {
    drop();
    retry(5000); // some computers only believe that they are offline
  });
  addEventListener("online", again);

  // Where htmx was ready before its extension, nobody asked yet.
  document.addEventListener("DOMContentLoaded", connect);
})();
