// The live map. A browser has one stream of server-sent events, however many windows it shows
// (docs/decisions/0022-one-stream-per-browser.md). One window leads: it reads the stream, which carries the maps of all
// windows, and passes each event on to the others. While a map is not live, its window asks for it every few seconds.
// A map is named like `2026-11-23/B/`; its state by a tag such as `A:25,B:20,h:0`: the generation of every section, and a
// hash of the holds.

(() => {
  "use strict";

  const { base, find, seats, panel, say, busy, look, leaveOut, signedOut } = window.seatweb;

  const BEAT = 1_000; // the leader says that it is there, this often
  const GONE = 3_000; // a leader that has said nothing for so long leads no more
  const WELCOME = 100; // a window that opens waits so long for a leader to answer
  const GATHER = 30; // a leader waits so long for what other windows show, before it opens the stream
  const SILENCE = 40_000; // the server says something every 15 s
  const CONNECT = 8_000; // how long the server may take to answer
  const PATIENCE = 3_500; // while its map is not live, a window asks for it this often
  const LONGEST = 30_000; // between two tries to open the stream
  const MOST_MAPS = 8; // in one stream, as in seatweb/web/map/stream.py
  const LONGEST_URL = 3_500; // Seatweb and proxies refuse URLs that are much longer

  const now = () => performance.now();
  const place = () => find(".live");
  const viewer = () => document.body.dataset.username ?? ""; // whose page this is: empty for a visitor
  const me = Math.random(); // of two leaders, the smaller one stays

  let channel = null; // to the browser's other windows; closed in the background
  let leader = null; // the number of the window that leads
  let beat = 0; // when the leader was heard last
  let election = 0;
  let carried = new Map(); // the maps in the stream, by name, with the tags of what it has told
  let state = "catching-up"; // what the stream says about itself
  let ended = false; // this page's session is not the browser's any more

  let map = null; // the name of the map on this page
  let tag = null; // the state that the page shows
  let coming = null; // the state that the event brings
  let changed = 0; // when an event changed the page last
  let mine = null; // the viewer's seat, if what was told about it was not dealt with yet
  let owed = false; // the page differs from what was told, and was busy
  let over = null; // the name of a map that will not change any more
  let lost = now(); // when the map stopped being live
  let looked = now(); // when the page asked for the map itself last

  /* --- The windows: one leads, the others follow. --- */

  function tell(kind, more) {
    channel?.postMessage({ kind, from: me, ...more });
  }

  function join() {
    if (channel || ended || document.hidden || !window.BroadcastChannel) return;
    channel = new BroadcastChannel(`seatweb${base} live ${viewer()}`); // never between windows of different users
    channel.onmessage = ({ data }) => hear(data);
    tell("hello");
    elect();
  }

  function leave() {
    if (!channel) return;
    hangUp();
    tell("left");
    channel.close();
    channel = null;
    leader = null;
    clearTimeout(election);
    carry([]);
  }

  // Whoever waits the shortest leads; the others hear its beat.
  function elect() {
    leader = null;
    clearTimeout(election);
    election = setTimeout(lead, WELCOME * (1 + Math.random()));
  }

  function lead() {
    if (!channel || leader !== null) return;
    leader = me;
    windows.clear();
    carry([]);
    sayBeat();
    retry(GATHER);
  }

  function sayBeat() {
    beat = now();
    tell("beat", { state, maps: [...carried.keys()] });
  }

  // Tell the leader what this page shows. What happened since that state was told to others, so the stream must tell it again.
  function show() {
    if (leader !== me) tell("shows", { map, tag });
    else if (carried.get(map) !== tag) retry(GATHER);
  }

  function hear(told) {
    if (told.kind === "hello" && leader === me) sayBeat();
    if (told.kind === "beat") hearBeat(told);
    if (told.kind === "shows" && leader === me) hearShown(told);
    if (told.kind === "event") take(told.event);
    if (told.kind === "left") {
      windows.delete(told.from);
      if (told.from === leader) elect();
    }
    if (told.kind === "strangers") sessionChanged();
  }

  function hearBeat({ from, state: told, maps }) {
    if (leader === me && me < from) {
      sayBeat(); // the other one will follow
      return;
    }
    if (leader === me) hangUp();
    const isNew = leader !== from;
    leader = from;
    beat = now();
    state = told;
    carry(maps.map((name) => [name, null]));
    if (isNew) show();
  }

  /* --- The leader: the stream, which is opened again for each map that it does not carry. --- */

  const windows = new Map(); // what the others show, the latest last

  let stream = null; // aborts it
  let next = null; // aborts the one that will take its place
  let heard = 0; // when it said something last
  let tries = 0;
  let timer = 0;

  function hearShown({ from, map: name, tag: shown }) {
    windows.delete(from);
    windows.set(from, { map: name, tag: shown });
    if (carried.get(name) !== shown) retry(GATHER);
  }

  function hangUp() {
    clearTimeout(timer);
    next?.abort();
    stream?.abort();
    next = stream = null;
  }

  function retry(delay) {
    clearTimeout(timer);
    timer = setTimeout(open, delay);
  }

  function retryLater(least) {
    retry(Math.max(least, Math.min(500 * 2 ** tries++, LONGEST) * (1 + Math.random() / 2)));
  }

  // The address of the stream, and the maps that it carries: this window's first, then those of the latest windows.
  function wanted() {
    const query = new URLSearchParams(tag ? { since: tag } : {});
    const section = map.split("/")[1];
    if (section) query.set("section", section);
    const maps = new Map([[map, tag]]);
    for (const { map: name, tag: shown } of [...windows.values()].reverse()) {
      if (maps.has(name) ? maps.get(name) === shown : maps.size === MOST_MAPS) continue;
      if (`${query}`.length + name.length + (shown ?? "").length * 2 > LONGEST_URL) continue;
      query.append("also", name + (shown ?? ""));
      maps.set(name, maps.has(name) ? null : shown);
    }
    return [`${place().dataset.stream}?${query}`, maps];
  }

  async function open() {
    clearTimeout(timer);
    next?.abort();
    next = null;
    if (leader !== me || !map || !place()) return;
    const own = (next = new AbortController());
    const patience = setTimeout(() => own.abort(), CONNECT);
    const [address, maps] = wanted();
    let response = null;
    let last = "";
    try {
      // Not from the cache: Firefox would wait for the end of another request for the same address.
      response = await fetch(address, { cache: "no-store", headers: { Accept: "text/event-stream" }, signal: own.signal });
      clearTimeout(patience);
      if (response.ok && response.headers.get("content-type")?.startsWith("text/event-stream")) {
        const whose = decodeURIComponent(response.headers.get("seatweb-viewer") ?? "");
        if (whose !== viewer()) {
          sessionChanged();
          return;
        }
        stream?.abort(); // only now, so that nothing is late
        [stream, next] = [own, null];
        carry(maps);
        sayBeat();
        last = await read(response.body.pipeThrough(new TextDecoderStream()).getReader(), own);
      }
    } catch {
      // Whether the stream ended, failed or never began: there will be another one.
    }
    clearTimeout(patience);
    if (own === next) next = null;
    else if (own === stream) {
      stream = null;
      carry([]);
      sayBeat();
    } else return; // another one took its place
    if (response?.status === 404) end(map);
    else if (last === "bye") retry(0); // is there a new session?
    else retryLater(1000 * Number(response?.headers.get("retry-after") ?? 0));
  }

  async function read(reader, own) {
    let text = "";
    for (;;) {
      heard = now();
      const { done, value } = await reader.read();
      if (done || own !== stream) return "";
      tries = 0;
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events.map(parse)) {
        if (event.name === "bye") return "bye";
        tell("event", { event });
        take(event);
      }
    }
  }

  // An event of the stream (HTML Standard, 9.2), as Seatweb writes them.
  function parse(text) {
    const fields = { event: "", id: "", data: [] };
    for (const line of text.split("\n")) {
      const [, name, value] = line.match(/^(\w+): ?(.*)$/) ?? [];
      if (name === "data") fields.data.push(value);
      else if (name) fields[name] = value;
    }
    return { name: fields.event, id: fields.id, data: fields.data.join("\n") };
  }

  /* --- Is this map live? --- */

  function carry(maps) {
    carried = maps instanceof Map ? maps : new Map(maps);
    sign();
  }

  const follows = () => carried.has(map) && (leader === me ? stream !== null : leader !== null && now() - beat < GONE);

  function sign() {
    const live = follows();
    if (live) lost = null;
    else lost ??= now();
    const element = place();
    if (element && !ended) element.dataset.live = live && map === element.dataset.map ? state : "catching-up";
  }

  // Someone else uses this browser now, or nobody: what this page shows is not for them.
  function sessionChanged() {
    if (ended) return;
    ended = true;
    tell("strangers");
    leave();
    const element = place();
    if (element) element.dataset.live = "off";
    if (viewer()) signedOut();
    else say("alert", "You signed in after this page was opened.", { href: location.href, text: "Reload this page" });
  }

  function end(name) {
    if (over === name) return;
    over = name;
    leave();
    setTimeout(look, 1000 + 4000 * Math.random());
  }

  /* --- What the stream says. --- */

  let work = Promise.resolve();

  function take(event) {
    work = work.then(() => act(event)).catch((error) => console.error("A change to the live map could not be shown.", error));
  }

  function act({ name, id, data }) {
    if (name === "status") {
      state = data;
      sign();
    } else if (name === "mine") {
      const [day, seat] = data.split(" ");
      if (!map?.startsWith(`${day}/`)) return;
      mine = seat;
      agree();
    } else if (name === "over") {
      if (data === map) end(map);
    } else if (!name) return change(id, data);
    else place()?.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: { data } }));
  }

  async function change(id, html) {
    const cut = id.lastIndexOf("/") + 1;
    const [name, news] = [id.slice(0, cut), id.slice(cut)];
    if (leader === me) {
      carried.set(name, news);
      for (const shown of windows.values()) if (shown.map === name) shown.tag = news;
    }
    const element = place();
    if (ended || name !== map || name !== element?.dataset.map) return;
    coming = news;
    before.clear();
    await window.htmx.swap({ sourceElement: element, target: element, text: html, swap: "none", push: "false" });
    coming = null;
    tag = news;
    changed = now();
    for (const [section, number] of generations(news)) {
      const box = room(section);
      if (Number(box?.dataset.generation) < number) box.dataset.generation = number;
    }
    for (const seat of seats()) if (before.has(seat.id) && before.get(seat.id) !== seat.dataset.status) flash(seat);
    agree();
  }

  function generations(text) {
    const parts = text.split(",").map((part) => part.split(":"));
    return parts.filter(([name]) => name !== "h").map(([name, number]) => [name, Number(number)]);
  }

  const room = (name) => document.getElementById(`section-${name}`);
  const before = new Map(); // the status of every seat before the change

  const ofLive = (ctx) => Boolean(ctx.sourceElement?.matches?.(".live"));

  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    ctx.asked = now();
  });

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    if (event.defaultPrevented) return;
    if (!ofLive(ctx)) meet(ctx, tasks);
    else {
      // An answer to this page may have been faster than the news of the same: what is older is left out.
      for (const [name, number] of generations(coming)) {
        const section = room(name);
        if (Number(section?.dataset.generation) > number) leaveOut(tasks, (target) => section.contains(target));
      }
      for (const seat of seats()) before.set(seat.id, seat.dataset.status);
    }
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
      if (!map || element?.dataset.map !== map) continue;
      ctx.stale = changed > ctx.asked && element.dataset.tag !== tag;
      tag = element.dataset.tag;
    }
  }

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.stale) show();
    else follow();
  });

  // The page may show another map now, or none.
  function follow() {
    const element = place();
    if (!element || element.dataset.map === over) {
      map = null;
      leave();
    } else if (element.dataset.map !== map) {
      ({ map, tag } = element.dataset);
      mine = null;
      lost = now();
      if (channel) show();
      sign();
    }
    if (map) join();
  }

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

  /* --- Twice a second: is everyone still there? --- */

  setInterval(() => {
    if (document.hidden || ended) return;
    follow();
    if (!map) return;
    if (owed) agree();
    if (leader === me) {
      if (now() - beat >= BEAT) sayBeat();
      if (stream && now() - heard > SILENCE) open();
    } else if (leader !== null && now() - beat > GONE) elect();
    sign();
    if (lost === null || now() - lost < PATIENCE || now() - looked < PATIENCE || !navigator.onLine || busy()) return;
    looked = now();
    look();
  }, 500);

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else follow();
  });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", ({ persisted }) => persisted && follow());
  addEventListener("offline", () => {
    if (leader !== me) return;
    hangUp();
    carry([]);
    sayBeat();
    retry(5000); // some computers only believe that they are offline
  });
  addEventListener("online", () => {
    tries = 0;
    open();
  });

  document.addEventListener("DOMContentLoaded", () => window.htmx && follow());
})();
