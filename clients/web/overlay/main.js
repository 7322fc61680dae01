// /overlay/STREAM: the captions of one stream, over a picture.

import { CaptionClient } from "../../js/src/index.js";
import { Playout } from "../../js/src/subtitles/index.js";

import { parseOptions } from "./options.js";
import { Screen } from "./screen.js";

/** @typedef {import("../../js/src/index.js").CaptionMessage} CaptionMessage */

// A feed that said no (no such stream, no right to it, an ended one) is asked again: an overlay is opened once and left
// alone, and the stream may be added, or begun again, later.
const ASK_AGAIN_MS = 15_000;
const LATEST_TIMER_MS = 2 ** 31 - 1;

const stream = location.pathname.split("/")[2] ?? "";
const { options, warnings } = parseOptions(new URLSearchParams(location.search), (colour) => CSS.supports("color", colour));
for (const warning of warnings) console.warn(`overlay: ${warning}`);
// What stands behind # leaves no browser: not in a request, nor in a referrer.
const token = new URLSearchParams(location.hash.slice(1)).get("token");

const screen = new Screen(document, options);
const playout = new Playout({
  cps: options.cps,
  holdS: options.hold,
  pages: { columns: options.columns, lines: options.lines, language: options.lang },
});
const client = new CaptionClient(new URL(`/v1/streams/${stream}/captions`, location.origin), {
  interim: options.drafts,
  ...(token === null ? {} : { token }),
});

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let serverAheadMs = 0; // the server's clock against this one, as of its last hello
let catchingUp = false; // what comes was said earlier, while nobody listened
/** @type {string | null} */
let epoch = null;

const now = () => performance.now() / 1000;

function draw() {
  clearTimeout(timer);
  const at = now();
  screen.show(playout.at(at));
  const next = playout.next();
  if (next !== Infinity) timer = setTimeout(draw, Math.min(LATEST_TIMER_MS, Math.max(0, 1000 * (next - at))));
}

/**
 * @param {CaptionMessage} caption
 * @param {boolean} live
 */
function take(caption, live) {
  if (caption.status === "retracted") {
    playout.retract(caption.id, now());
    return;
  }
  if (caption.text === "") {
    playout.withdraw(caption.id, now());
    return;
  }
  if (!isWanted(caption)) return;
  const age = live ? 0 : Math.max(0, (Date.now() + serverAheadMs - Date.parse(caption.emitted_at)) / 1000);
  const { id, text, saliency = 0 } = caption;
  playout.add({ id, text, saliency, age, final: caption.status === "final" }, now());
}

/** @param {CaptionMessage} caption */
function isWanted(caption) {
  return options.kinds.includes(caption.kind) && (caption.saliency ?? 0) >= options.minSaliency;
}

client.addEventListener("hello", ({ message }) => {
  serverAheadMs = Date.parse(message.at) - Date.now();
  catchingUp = true;
  if (epoch !== null && epoch !== message.epoch) playout.forget();
  epoch = message.epoch;
});
client.addEventListener("snapshot", ({ message }) => {
  catchingUp = false;
  // Of what was said before this page was opened the newest is on air, for as long as it would be still.
  const last = (message.recent ?? []).filter(isWanted).pop();
  if (last && Date.parse(message.at) - Date.parse(last.emitted_at) <= 1000 * options.hold) take(last, false);
  if (message.status) ended(message.status.state);
  draw();
});
client.addEventListener("caught_up", () => {
  catchingUp = false;
});
client.addEventListener("caption", ({ message }) => {
  take(message, !catchingUp);
  draw();
});
client.addEventListener("status", ({ message }) => {
  ended(message.state);
  draw();
});
client.addEventListener("state", ({ state, reason, code }) => {
  screen.note(`${stream} · ${state}${reason ? `: ${reason}` : ""}${code ? ` (${code})` : ""}`, warnings);
  if (state !== "closed") return;
  console.warn(`overlay: ${reason}`);
  setTimeout(() => client.connect(), ASK_AGAIN_MS);
});

/** @param {string} state */
function ended(state) {
  if (state === "ended" || state === "failed") playout.end(now());
}

client.connect();
