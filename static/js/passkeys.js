// Passkeys: a form with `data-passkey` asks the browser for one, and submits its response.
// The server chooses what to ask for (`data-options`) and decides everything.

(() => {
  "use strict";

  const credentials = window.PublicKeyCredential && navigator.credentials;
  if (!credentials) {
    for (const words of document.querySelectorAll("[data-passkeys-missing]")) words.hidden = false;
    return;
  }

  /* --- WebAuthn's JSON, for browsers that cannot read or write it by themselves. --- */

  const bytes = (text) => {
    const padded = text.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(padded), (character) => character.charCodeAt(0));
  };

  const text = (buffer) =>
    btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");

  const described = (list = []) => list.map((one) => ({ ...one, id: bytes(one.id) }));

  function readCreation(options) {
    if (PublicKeyCredential.parseCreationOptionsFromJSON) return PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: described(options.excludeCredentials),
    };
  }

  function readRequest(options) {
    if (PublicKeyCredential.parseRequestOptionsFromJSON) return PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return { ...options, challenge: bytes(options.challenge), allowCredentials: described(options.allowCredentials) };
  }

  function write(credential) {
    try {
      return JSON.stringify(credential.toJSON());
    } catch {
      // No toJSON, or one that an extension broke.
    }
    const { response } = credential;
    const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
    const written = names.filter((name) => response[name]).map((name) => [name, text(response[name])]);
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response: { ...Object.fromEntries(written), transports: response.getTransports?.() ?? [] },
    });
  }

  /* --- One form. --- */

  const FAILED = "The passkey did not work. Try again, or use another method.";
  const WORDS = {
    NotAllowedError: "The request was cancelled or timed out.",
    InvalidStateError: "You have already added a passkey on this device.",
    NotSupportedError: "This device can't create a passkey for this site.",
    SecurityError: "Passkeys don't work at this address.",
  };

  async function ask(form) {
    const answer = await fetch(form.dataset.options, {
      method: "POST",
      body: new URLSearchParams([["_csrf_token", form.elements._csrf_token.value]]),
    });
    if (answer.redirected) {
      location.assign(answer.url); // signed out, or to be confirmed again
      return null;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const options = await answer.json();
    return form.dataset.passkey === "create"
      ? credentials.create({ publicKey: readCreation(options) })
      : credentials.get({ publicKey: readRequest(options) });
  }

  async function use(event) {
    const form = event.currentTarget;
    const field = form.elements.credential;
    if (field.value) return; // being submitted
    event.preventDefault();
    if (form.dataset.asking) return;
    const [button, problem] = [form.querySelector("button"), form.querySelector(".passkey-error")];
    form.dataset.asking = "true";
    button.setAttribute("aria-busy", "true");
    problem.textContent = "";
    try {
      const credential = await ask(form);
      if (!credential) return;
      field.value = write(credential);
      form.requestSubmit();
    } catch (error) {
      problem.textContent = WORDS[error.name] ?? FAILED;
    } finally {
      delete form.dataset.asking;
      if (!field.value) button.removeAttribute("aria-busy");
    }
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", use);
    form.hidden = false;
  }

  // After the back button: a response works once.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-passkey]")) form.elements.credential.value = "";
  });
})();
