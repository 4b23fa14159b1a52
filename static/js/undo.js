// "My bookings": a row that was just cancelled stays in its place while it offers Undo. Then the list comes anew and has
// the row under "Past and cancelled". That moves other rows up, so it waits until nobody is about to click one.

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  const { base, find, all, busy } = window.seatweb;

  const STILL = 1000; // ms without input
  const RETRY = 5000; // ms until the next try, if the list did not come

  let came = performance.now(); // when the list came; the seconds of its rows count from then
  let touched = -STILL;
  let asked = -RETRY;

  for (const type of ["pointermove", "pointerdown", "keydown"]) {
    document.addEventListener(type, () => (touched = performance.now()), { passive: true });
  }

  document.addEventListener("htmx:after:swap", () => (came = performance.now()));

  setInterval(() => {
    const now = performance.now();
    const over = all("#my_bookings [data-seconds]").filter((row) => now - came >= 1000 * row.dataset.seconds);
    const inUse = find("#my_bookings .undo:is(:hover, :focus-within)");
    if (!over.length || inUse || busy() || now - touched < STILL || now - asked < RETRY) return;
    asked = now;
    renew(over.find((row) => row.contains(document.activeElement)));
  }, 250);

  async function renew(left) {
    const next = left?.nextElementSibling?.id;
    await window.htmx?.ajax("GET", `${base}/my/bookings`, {
      source: find("#my_bookings"),
      target: "#my_bookings",
      swap: "outerMorph",
      push: "false",
    });
    // The focus does not go away with its row.
    if (left && document.activeElement === document.body) (document.getElementById(next) ?? find("h1")).focus();
  }
});
