// The only way in which text becomes HTML in these pages (docs/decisions/0013-only-checked-text-becomes-html.md).
// What htmx swaps is first parsed where nothing runs or loads, and refused as a whole when it holds anything but the
// elements and attributes below. Browsers that know Trusted Types let no other text through; in the others htmx still
// goes this way. Loaded before htmx: it is handed the check, and no way to run code from attributes, as it comes.

(() => {
  "use strict";

  const words = (text) => new Set(text.trim().split(/\s+/));

  // Nothing among these runs code, loads what is not ours, or changes what other parts of the page mean.
  const ELEMENTS = words(`
    html head body title template
    a abbr address article aside b bdi bdo blockquote br button caption code col colgroup data datalist dd del details
    dfn dialog div dl dt em fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr i img input ins
    kbd label legend li main mark menu meter nav ol optgroup option output p pre progress q rp rt ruby s samp search
    section select small span strong sub summary sup table tbody td textarea tfoot th thead time tr u ul var wbr
    svg g path rect circle ellipse line polyline polygon
  `);

  const ATTRIBUTES = words(`
    class id lang dir title hidden tabindex role translate inert
    name type value for method enctype placeholder pattern min max step minlength maxlength rows cols size required
    readonly disabled checked selected multiple label autocomplete autocapitalize autofocus spellcheck inputmode
    enterkeyhint novalidate formnovalidate list form open rel datetime alt width height loading decoding
    colspan rowspan scope headers start reversed
    xmlns viewBox fill stroke stroke-width stroke-linecap stroke-linejoin d x y x1 y1 x2 y2 r rx ry cx cy points
    transform focusable
    hx hx-target hx-swap hx-sync hx-morph-skip hx-sse:close
    hx-target:inherited hx-swap:inherited hx-sync:inherited
  `);

  // A path of ours, or a part of this page. No tab or line break: browsers read over them, as in "/\t/elsewhere".
  const local = (value) => /^(?:\/(?![/\\])[^\\\t\n\r]*|[?#][^\t\n\r]*)?$/.test(value);
  const switched = (value) => value === "true" || value === "false" || local(value);

  const CHECKED = new Map([
    ["href", local],
    ["src", local],
    ["action", local],
    ["formaction", local],
    ["hx-get", local],
    ["hx-post", local],
    ["hx-sse:connect", local],
    ["hx-push-url", switched],
    ["hx-push-url:inherited", switched],
    ["hx-trigger", (value) => /^[a-z]+$/.test(value)], // no filter in brackets, which would be code
  ]);

  class Untrusted extends Error {
    name = "Untrusted";
  }

  const plain = (name) => ATTRIBUTES.has(name) || /^aria-[a-z]+$|^data-(?!hx-)[a-z-]+$/.test(name);

  function check(root) {
    for (const element of root.querySelectorAll("*")) {
      if (!ELEMENTS.has(element.localName)) throw new Untrusted(`<${element.localName}> in an answer`);
      for (const name of element.getAttributeNames()) {
        if (plain(name) || CHECKED.get(name)?.(element.getAttribute(name))) continue;
        throw new Untrusted(`<${element.localName} ${name}> in an answer`);
      }
      if (element.localName === "template" && element.content) check(element.content);
    }
  }

  const same = { createHTML: (text) => text };
  const raw = window.trustedTypes?.createPolicy("seatweb", same) ?? same; // never leaves this function

  // Not as htmx parses (parseHTMLUnsafe), which would hide a declared shadow from the check: here it stays a template,
  // whose attribute is not among ours. In all else the two read alike.
  const inert = (html) => new DOMParser().parseFromString(html, "text/html");

  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  const policy = {
    createHTML(text) {
      const page = inert(raw.createHTML(text));
      // Of the head of a whole page htmx takes the title alone; it is given no more.
      if (/^<head[\s>]/i.test(text)) return raw.createHTML(`<title>${escape(page.title)}</title>`);
      check(page);
      return raw.createHTML(text);
    },
    createScript: refuse,
  };

  function refuse() {
    throw new Untrusted("code in an answer or attribute");
  }

  // A function, not an arrow: htmx calls it with `new`, instead of Function and AsyncFunction.
  const guard = { init: (api) => api.initSecurity(policy, refuse, refuse) };

  Object.defineProperty(window, "htmx", {
    configurable: true,
    set(htmx) {
      Object.defineProperty(window, "htmx", { value: htmx });
      htmx.registerExtension("seatweb", guard);
    },
  });

  window.seatweb = { parse: (text) => inert(policy.createHTML(text)) };
})();
