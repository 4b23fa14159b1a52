// The calendar: its keys (those of the date picker in the WAI-ARIA Authoring Practices), and the dialog in which the map
// opens it. Without this, it is a page with a table of links.

(() => {
  "use strict";

  const DAYS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
  const MONTHS = { PageUp: -1, PageDown: 1 };

  const { find, all } = window.seatweb;
  const dialog = () => find("#calendar-dialog");
  const calendar = () => find("#calendar");
  const link = (day) => document.getElementById(`month-${day}`);

  let wanted = null; // the day that gets the focus, as long as its month is on the way

  /* --- Only with scripts is the table a grid: one stop for Tab, and arrows that walk the days. --- */

  function prepare() {
    const table = find("table", calendar());
    if (!table) return;
    table.setAttribute("role", "grid");
    for (const cell of all("td", table)) cell.setAttribute("aria-selected", String(Boolean(find("[data-shown]", cell))));
    stopAt(start());
  }

  const start = () => find("[data-shown]", calendar()) ?? find("[aria-current]", calendar()) ?? find(".month-day", calendar());

  function stopAt(stop) {
    for (const day of all(".month-day", calendar())) day.tabIndex = day === stop ? 0 : -1;
    return stop;
  }

  const month = (day) => day.slice(0, 7);

  function load(address) {
    const push = String(!dialog()); // the page has an address for each month
    return htmx.ajax("GET", address, { source: calendar().parentElement, target: "#calendar", swap: "outerMorph", push });
  }

  async function go(day) {
    const waiting = wanted !== null;
    wanted = day;
    if (waiting) return;
    while (calendar().dataset.month !== month(wanted)) {
      const asked = month(wanted);
      await load(`${window.seatweb.base}/calendar/${asked}?${calendar().dataset.query}`);
      if (calendar().dataset.month === asked) continue;
      dialog()?.close(); // no answer, which is reported behind it
      wanted = null;
      return;
    }
    stopAt(link(wanted)).focus();
    wanted = null;
  }

  /* --- Keys. Days are counted in UTC, where every day has 24 hours. --- */

  function moved(date, event) {
    const [year, number, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
    const weekday = (date.getUTCDay() + 6) % 7; // from Monday
    if (event.key === "Home") return Date.UTC(year, number, day - weekday);
    if (event.key === "End") return Date.UTC(year, number, day + 6 - weekday);
    if (DAYS[event.key]) return Date.UTC(year, number, day + DAYS[event.key]);
    if (!MONTHS[event.key]) return null;
    const target = number + MONTHS[event.key] * (event.shiftKey ? 12 : 1);
    return Math.min(Date.UTC(year, target, day), Date.UTC(year, target + 1, 0)); // not 31 June
  }

  document.addEventListener("keydown", (event) => {
    const day = event.target.closest?.(".month-day");
    if (!day || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === " ") {
      event.preventDefault();
      if (!event.repeat) day.click();
      return;
    }
    const time = moved(new Date(`${wanted ?? day.dataset.day}T00:00Z`), event);
    if (time === null) return;
    event.preventDefault();
    const next = new Date(time).toISOString().slice(0, 10);
    const { end } = calendar().dataset;
    if (/^\d{4}-/.test(next)) go(next < end ? next : end);
  });

  /* --- The dialog. --- */

  async function openCalendar({ href }) {
    delete calendar().dataset.month;
    await load(href);
    if (!calendar().dataset.month) return; // no answer, which is reported
    if (!dialog().open) dialog().showModal();
    start().focus();
  }

  document.addEventListener("click", (event) => {
    const box = event.target.closest?.("#calendar-dialog");
    if (!box) return;
    const day = event.target.closest("a[data-day]");
    if (event.target === box || event.target.closest(".calendar-close")) box.close();
    else if (day?.hasAttribute("href") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      box.close();
      window.seatweb.show(day.getAttribute("href"));
    }
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.target?.id !== "calendar") return;
    prepare();
    if (!ctx.quiet && (!document.activeElement || document.activeElement === document.body)) start().focus();
  });

  if (dialog()) window.seatweb.openCalendar = openCalendar;
  else prepare();
})();
