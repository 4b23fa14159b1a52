// "My bookings": a row that was just cancelled stays in its place while it offers Undo. Then the list comes anew and has
// the row under "Past and cancelled". That moves other rows up, so it waits until nobody is about to click one.

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  const { find, all, busy, look } = window.seatweb;

  const STILL = 1000; // ms without input
  const RETRY = 5000; // ms until the next try, if the list did not come

  let came = performance.now(); // when the list came; the seconds of its rows count from then
  let touched = -STILL;
  let asked = -RETRY;

  for (const type of ["pointermove", "pointerdown", "keydown"]) {
    document.addEventListener(type, () => (touched = performance.now()), { passive: true });
  }

  let focused = null; // the row that has the focus
  let next = ""; // the id of the one below

  document.addEventListener("htmx:before:swap", () => {
    focused = document.activeElement?.closest("#my_bookings .line");
    next = focused?.nextElementSibling?.id;
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    came = performance.now();
    // The focus does not go away with its row.
    if (ctx.quiet && focused && document.activeElement === document.body) (document.getElementById(next) ?? find("h1")).focus();
  });

  setInterval(() => {
    const now = performance.now();
    const over = all("#my_bookings [data-seconds]").filter((row) => now - came >= 1000 * row.dataset.seconds);
    const inUse = find("#my_bookings .undo:is(:hover, :focus-within)");
    if (!over.length || inUse || busy() || now - touched < STILL || now - asked < RETRY) return;
    asked = now;
    look();
  }, 250);
});
