// The hold: the seat of an open panel is kept for its user for a while, and released when the panel is left.
// The answer to the panel's `form#hold` (map/partials/hold.html) takes the form's place and brings a token and the time.

(() => {
  "use strict";

  const { find, panel, parse, say } = window.seatweb;
  const place = () => find("#hold");

  let held = null; // what this page holds: token, address of the seat, day, how to release it

  /* --- The time that is left. --- */

  const WARNING = 20; // seconds

  document.addEventListener("clock", ({ target, detail: left }) => {
    if (!held || !target.closest("#hold")) return;
    if (!left) over();
    else if (left <= WARNING && target.dataset.seconds > WARNING && !held.warned) {
      held.warned = true;
      if (!find("#say-alert > p")) say("status", `20 seconds left to book ${panel().dataset.label}.`);
    }
  });

  function over() {
    held = null;
    const [running, ended] = [find("#hold .hold-now"), find("#hold .hold-over")];
    const focus = running.contains(document.activeElement);
    running.hidden = true;
    ended.hidden = false;
    if (focus) find("#panel-name").focus(); // not the button that holds it again: a press on its way meant to release it
  }

  /* --- Holding and releasing. --- */

  const fields = (form) => ({ action: form.getAttribute("action"), body: new URLSearchParams(new FormData(form)) });

  // After every swap: what does the page hold now?
  function settle(ctx) {
    const box = place();
    const running = box && find(".hold-now:not([hidden])", box);
    if (running && box.dataset.token !== held?.token) {
      const { token, address } = box.dataset;
      held = { token, address, day: find("#day").dataset.day, release: fields(running), warned: false };
    } else if (held && !running) {
      // Another seat of the same day takes the hold along by itself, and a booking ends it.
      const along = box?.matches("form") && find("#day").dataset.day === held.day;
      const booked = panel()?.dataset.status === "mine" && held.address.endsWith(`/${panel().dataset.seatId}`);
      if (booked || ctx.sourceElement?.matches?.(".hold-now")) held = null;
      else if (!along) leave();
    }
  }

  function leave() {
    release(held.release);
    held = null;
  }

  function release({ action, body }) {
    const headers = { "HX-Request": "true", "Seatweb-Quiet": "1" };
    // `keepalive`: also while the page goes away. Where it fails, the hold ends by itself.
    fetch(action, { method: "POST", body, headers, keepalive: true }).catch(() => {});
  }

  const ofHold = (ctx) => ctx.sourceElement?.matches?.("form#hold, .hold-over");
  const isLeft = (ctx) => place()?.dataset.address !== ctx.request.action.replace(/\/hold(\?.*)?$/, "");

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    // It waited for the one before it, and its panel was left meanwhile.
    if (ofHold(ctx) && isLeft(ctx)) event.preventDefault();
    // Booking needs no hold, and one that is on its way would come too late.
    else if (!ofHold(ctx) && ctx.request.method === "POST") find("form#hold")?.dispatchEvent(new Event("htmx:abort"));
  });

  // An answer for a panel that was left: what it brings is released at once.
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (event.defaultPrevented || !ofHold(ctx) || !isLeft(ctx)) return;
    event.preventDefault();
    const form = find(".hold-now", parse(ctx.text));
    if (form) release(fields(form));
  });

  // The other seat, which would have taken the hold along, was not to be had.
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    if (held && ofHold(ctx) && place()?.matches("form")) leave();
  });

  // What is held stays as it is when its panel comes anew. And choosing is what people do: when a seat comes free again
  // under an open panel, no hold is taken, or two forgotten tabs would pass it to each other for ever.
  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail;
    const box = place();
    if (event.defaultPrevented || ofHold(ctx)) return;
    for (const { fragment } of tasks) {
      const coming = find("#hold", fragment);
      const same = coming && box?.dataset.address === coming.dataset.address;
      if (same && (ctx.quiet || (held && box.dataset.token === held.token))) coming.replaceWith(box.cloneNode(true));
      else if (coming && ctx.quiet) coming.remove();
    }
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => settle(ctx));

  // Leaving for another page; and coming back to this one out of the browser's memory.
  addEventListener("pagehide", () => held && leave());
  addEventListener("pageshow", ({ persisted }) => persisted && find("#hold .hold-over")?.requestSubmit());

  document.addEventListener("DOMContentLoaded", () => settle({}));
})();
