// Who has a seat: their name beside the seat that is under the pointer or has the focus. It stays while the pointer is on
// it, and Escape hides it (WCAG 2.2, 1.4.13). Screen readers hear it as part of the seat's name.

(() => {
  "use strict";

  const tip = document.createElement("p");
  tip.className = "tip";
  tip.dir = "auto";
  tip.setAttribute("aria-hidden", "true");

  const seatOf = (element) => element?.closest?.("a.seat[data-sitter]") ?? null;
  const focused = () => seatOf(document.querySelector(":focus-visible"));
  const edge = 8; // pixels between it and the side of the window

  let shown = null; // the seat

  function show(seat) {
    shown = seat;
    if (!seat) return tip.remove();
    tip.textContent = seat.dataset.sitter;
    document.body.append(tip);
    const box = seat.getBoundingClientRect();
    const left = box.left + (box.width - tip.offsetWidth) / 2;
    const top = seat.closest("[data-side=south]") ? box.bottom : box.top - tip.offsetHeight;
    const most = document.documentElement.clientWidth - tip.offsetWidth - edge;
    tip.style.left = `${scrollX + Math.max(edge, Math.min(left, most))}px`;
    tip.style.top = `${scrollY + top}px`;
  }

  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType === "touch" || target === tip) return;
    const seat = seatOf(target) ?? focused();
    if (seat !== shown) show(seat);
  });
  document.addEventListener("focusin", () => show(focused()));
  document.addEventListener("focusout", () => show(null));
  document.addEventListener("keydown", ({ key }) => key === "Escape" && show(null));
  document.addEventListener("scroll", ({ target }) => target !== document && show(null), true);
  document.addEventListener("htmx:after:swap", () => shown && show(seatOf(shown.isConnected ? shown : null)));
})();
