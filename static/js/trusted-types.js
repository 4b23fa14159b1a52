// The only way in which text becomes HTML: checked, and refused whole where it holds what is not on these lists. Why, and
// why so: docs/decisions/0013-only-checked-text-becomes-html.md. Loaded before htmx, and handed to it as it comes.

(() => {
  "use strict";

  const words = (text) => new Set(text.trim().split(/\s+/));

  const ELEMENTS = words(`
    html head body title template
    a article aside b bdi br button caption code dd details dialog div dl dt em fieldset footer form h1 h2 h3 h4 h5 h6 header
    hr i img input kbd label legend li main nav ol optgroup option p pre s section select small span strong summary table
    tbody td textarea tfoot th thead time tr u ul wbr figure figcaption
    svg g path rect circle
  `);

  const ATTRIBUTES = words(`
    class id lang title hidden tabindex role
    name type value for method placeholder pattern min max step minlength maxlength rows cols size required readonly
    abbr disabled checked selected label autocomplete autocapitalize autofocus spellcheck inputmode enterkeyhint novalidate
    open rel download datetime alt width height colspan scope
    viewBox fill stroke stroke-width stroke-linecap stroke-linejoin d x y r rx cx cy focusable
    hx hx-target hx-swap hx-sync hx-morph-skip
    hx-target:inherited hx-swap:inherited hx-sync:inherited
  `);

  // Of ours. Browsers read over tabs and line breaks, as in "/\t/elsewhere".
  const local = (value) => /^(?:\/(?![/\\])[^\\\t\n\r]*|[?#][^\t\n\r]*)?$/.test(value);
  const switched = (value) => value === "true" || value === "false" || local(value);

  const CHECKED = new Map([
    ["href", local],
    ["src", local],
    ["action", local],
    ["formaction", local],
    ["hx-get", local],
    ["hx-post", local],
    ["hx-push-url", switched],
    ["hx-push-url:inherited", switched],
    ["hx-trigger", (value) => /^[a-z]+$/.test(value)], // no filter, which is code
  ]);

  class Untrusted extends Error {
    name = "Untrusted";
  }

  const plain = (name) => ATTRIBUTES.has(name) || /^aria-[a-z]+$|^data-(?!hx-)[a-z-]+$/.test(name);

  function check(root) {
    for (const element of root.querySelectorAll("*")) {
      if (!ELEMENTS.has(element.localName)) throw new Untrusted(`<${element.localName}> in a response`);
      for (const name of element.getAttributeNames()) {
        if (plain(name) || CHECKED.get(name)?.(element.getAttribute(name))) continue;
        throw new Untrusted(`<${element.localName} ${name}> in a response`);
      }
      if (element.localName === "template" && element.content) check(element.content);
    }
  }

  // The scripts that a page loads when they are needed. The browser checks their integrity, as that of all others.
  const folder = new URL(".", document.currentScript.src).pathname;
  const file = /^[a-z-]+\.js\?v=[0-9a-f]+$/;
  const ours = (url) => (url.startsWith(folder) && file.test(url.slice(folder.length)) ? url : refuse());

  const same = { createHTML: (text) => text, createScriptURL: ours };
  const raw = window.trustedTypes?.createPolicy("seatweb", same) ?? same;

  // Not parseHTMLUnsafe, as htmx: it would hide a declared shadow from the check.
  const inert = (html) => new DOMParser().parseFromString(html, "text/html");

  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  const policy = {
    createHTML(text) {
      const page = inert(raw.createHTML(text));
      // Of a head htmx takes the title alone.
      if (/^<head[\s>]/i.test(text)) return raw.createHTML(`<title>${escape(page.title)}</title>`);
      check(page);
      return raw.createHTML(text);
    },
    createScript: refuse,
  };

  function refuse() {
    throw new Untrusted("code in a response or attribute");
  }

  // `refuse` also takes the place of Function and AsyncFunction.
  const guard = { init: (api) => api.initSecurity(policy, refuse, refuse) };

  Object.defineProperty(window, "htmx", {
    configurable: true,
    set(htmx) {
      Object.defineProperty(window, "htmx", { value: htmx });
      htmx.registerExtension("seatweb", guard);
    },
  });

  window.seatweb = { parse: (text) => inert(policy.createHTML(text)), script: (url) => raw.createScriptURL(url) };
})();
