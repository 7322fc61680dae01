// The stream comes from the address here; on a page of your own it is an attribute.

/** @typedef {import("../src/element.js").StreamCaption} StreamCaption */

const query = new URLSearchParams(location.search);
const element = /** @type {StreamCaption} */ (document.querySelector("stream-caption"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));

element.server = query.get("server") ?? location.origin;
element.stream = query.get("stream") ?? "";

element.addEventListener("status", () => {
  const { connection, stream } = element.status;
  state.textContent = `Connection: ${connection}. Stream: ${stream ?? "unknown"}.`;
});
element.addEventListener("caption", (event) => {
  const { detail } = /** @type {CustomEvent<import("../src/index.js").CaptionMessage>} */ (event);
  if (detail.status === "final") console.info(detail.end, detail.text);
});
