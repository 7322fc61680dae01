// What this browser remembers of its user: three choices, in local storage. Nothing of it is sent.

const PREFIX = "streamcap.";
/** @type {Record<string, string>} */
const DEFAULTS = { theme: "auto", announce: "on", shortcuts: "on", boxes: "on", video: "auto" };
const listeners = new EventTarget();

/** @param {keyof typeof DEFAULTS & string} name */
export function setting(name) {
  return localStorage.getItem(PREFIX + name) ?? DEFAULTS[name] ?? "";
}

/** @param {string} name @param {string} value */
export function choose(name, value) {
  localStorage.setItem(PREFIX + name, value);
  if (name === "theme") {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
  }
  listeners.dispatchEvent(new Event(name));
}

/** @param {string} name @param {() => void} listener @param {AbortSignal} [signal] */
export function onSetting(name, listener, signal) {
  listeners.addEventListener(name, listener, signal ? { signal } : {});
}

const THEMES = ["auto", "dark", "light"];

/** The next theme: as the system has it, dark, light. */
export function nextTheme() {
  const next = THEMES[(THEMES.indexOf(setting("theme")) + 1) % THEMES.length] ?? "auto";
  choose("theme", next);
  return next;
}
