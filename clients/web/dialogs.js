// Dialogs: add a stream, publish a camera, remove, summary, sign in, help.

import { Problem } from "./api.js";
import { button, clock, duration, h, say, why } from "./dom.js";
import { choose, setting } from "./settings.js";
import { publish } from "./webrtc.js";

/**
 * @typedef {import("./main.js").App} App
 * @typedef {[string, string][]} Choices values and words
 */

const ID = "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}";
const SPANS = /** @type {[number, string][]} */ ([[300, "the last 5 minutes"], [900, "the last 15 minutes"], [3600, "the last hour"], [28_800, "the last 8 hours"]]);
const PROFILES = /** @type {Choices} */ ([["surveillance", "Surveillance: every salient fact"], ["commentary", "Commentary: what happens just now"], ["general", "General: fewer, smoother"]]);
const CAPTIONERS = /** @type {Choices} */ ([["grounded", "streamcap itself: what it is sure of"], ["vision", "The vision–language model, held to that"]]);
const MODES = /** @type {Choices} */ ([["sliding", "The picture before and the picture now"], ["grid", "All pictures as one"], ["recaption", "The grounded text, to be made dense"]]);
const MARKS = /** @type {Choices} */ ([["som", "Numbers on instances"], ["frame-number", "Number of the picture"], ["blur", "All else blurred"], ["heat", "All else darkened"]]);
const CONTRADICTIONS = /** @type {Choices} */ ([["note", "Tell it, with a mark"], ["veto", "Let the grounded text stand"]]);
const KEYS = [
  ["?", "This help"], ["/ or f", "Filter or search field"], ["g", "Search everything"], ["u", "All streams"], ["j, k or arrows", "Next, previous tile or caption"],
  ["Enter", "Open the stream, or a caption’s frame"], ["b", "Boxes on or off"], ["s", "What happened between …"], ["p", "Pause or resume"],
  ["n", "Add a stream"], ["t", "Theme: as the system, dark, light"], ["Esc", "Close"],
];

/** Opens the page's dialogs. */
export class Dialogs {
  #app;
  /** @type {{session: import("./webrtc.js").Session, camera: MediaStream, stream: string} | null} */ #published = null;
  /** @type {HTMLDialogElement | null} */ #signing = null;

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    app.feed.addEventListener("streams", () => {
      const { stream } = this.#published ?? {};
      if (stream !== undefined && !app.feed.streams.has(stream)) void this.stopPublishing(); // removed: the camera is let go
    });
  }

  /** What is open goes with the view that it was opened over; who has to sign in still has to. */
  close() {
    for (const dialog of document.querySelectorAll("dialog[open]")) {
      if (dialog instanceof HTMLDialogElement && dialog !== this.#signing) dialog.close();
    }
  }

  add() {
    const id = field("Name", { name: "id", pattern: ID, required: true, autocomplete: "off", placeholder: "yard" });
    const source = field("Address", { name: "source", required: true, autocomplete: "off", placeholder: "rtsp://192.0.2.7/stream1" });
    const fps = field("Pictures looked at per second", { type: "number", min: 0.5, max: 60, step: 0.5, value: 5 });
    const profile = picked(PROFILES);
    this.#ask("Add a stream", "Add", [id, source, fps, labelled("Profile", profile)], async () => {
      const name = value(id);
      await this.#app.api.add({ id: name, source: value(source), fps: Number(value(fps)), profile: profile.value });
      await this.#app.feed.refresh();
      this.#app.announcer.now(`${name} was added`);
    });
  }

  publish() {
    const id = field("Name of the stream", { name: "id", pattern: ID, required: true, value: "camera", autocomplete: "off" });
    const note = h("p", {}, "Your browser asks before it gives the camera. Sound is not sent.");
    this.#ask("Publish this computer’s camera", "Publish", [id, note], async () => this.#publish(value(id)));
  }

  /** @param {string} stream */
  async #publish(stream) {
    await this.stopPublishing();
    if (!isSecureContext) throw new Error("A browser gives a camera only to https pages and to localhost.");
    if (!("RTCPeerConnection" in window)) throw new Error("This browser has no WebRTC.");
    const camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, frameRate: { ideal: 15 } } });
    try {
      await this.#app.api.add({ id: stream, source: "whip:" }).catch((error) => {
        if (!(error instanceof Problem && error.status === 409)) throw error; // there is one: perhaps it waits for us
      });
      const session = await publish(this.#app.api, stream, camera);
      this.#published = { session, camera, stream };
      const ended = () => session.peer.connectionState === "failed" && void this.stopPublishing();
      session.peer.addEventListener("connectionstatechange", ended);
      camera.getVideoTracks()[0]?.addEventListener("ended", () => void this.stopPublishing());
    } catch (error) {
      for (const track of camera.getTracks()) track.stop();
      throw error;
    }
    this.#app.showPublishing(stream);
    await this.#app.feed.refresh();
    location.hash = `#/streams/${encodeURIComponent(stream)}`;
  }

  async stopPublishing() {
    const published = this.#published;
    this.#published = null;
    this.#app.showPublishing("");
    if (published === null) return;
    for (const track of published.camera.getTracks()) track.stop();
    await published.session.close();
  }

  /** @param {string} stream */
  settings(stream) {
    const view = this.#app.feed.streams.get(stream);
    if (view === undefined) return;
    const fps = field("Pictures looked at per second", { type: "number", min: 0.5, max: 60, step: 0.5, value: view.fps ?? 5 });
    const profile = picked(PROFILES, view.profile);
    const captioner = picked(CAPTIONERS, view.captioner);
    const prompt = h("textarea", { rows: 3, maxlength: 4000, placeholder: "Look for people without a helmet." }, view.prompt ?? "");
    const mode = picked(MODES, view.mode);
    const contradictions = picked(CONTRADICTIONS, view.contradictions);
    const marks = ticked("Drawn on its pictures", MARKS, view.marks ?? []);
    const ofModel = h("div", { class: "fields" }, labelled("What the model is to heed", prompt), labelled("What it is shown", mode), marks, labelled("Where it contradicts what was perceived", contradictions));
    const show = () => (ofModel.hidden = captioner.value !== "vision");
    captioner.addEventListener("change", show);
    show();
    const parts = [fps, labelled("Profile", profile), ...(view.ask === null ? [] : [labelled("Who words captions", captioner), ofModel])];
    this.#ask(`Settings of ${stream}`, "Save", parts, async () => {
      /** @type {Record<string, string | string[]>} */
      const model = view.ask === null ? {} : { captioner: captioner.value, prompt: prompt.value, mode: mode.value, marks: values(marks), contradictions: contradictions.value };
      await this.#app.api.change(stream, { fps: Number(value(fps)), profile: profile.value, ...model });
      await this.#app.feed.refresh();
      this.#app.announcer.now(`The settings of ${stream} were changed`);
    });
  }

  /** @param {string} stream */
  remove(stream) {
    const note = h("p", {}, `${stream} is no longer watched. What was said stays readable as long as the journal keeps it.`);
    this.#ask(`Remove ${stream}?`, "Remove", [note], async () => {
      await this.#app.api.remove(stream);
      await this.#app.feed.refresh();
      location.hash = "#/";
    });
  }

  /** @param {string} stream */
  summary(stream) {
    const span = h("select", {}, ...SPANS.map(([seconds, word]) => h("option", { value: seconds }, word)), h("option", { value: "" }, "between two moments"));
    const from = field("From", { type: "datetime-local", step: 1 });
    const to = field("To", { type: "datetime-local", step: 1 });
    const between = h("div", { class: "pair", hidden: true }, from, to);
    const answer = h("div", { class: "summary-answer", role: "status" });
    span.addEventListener("change", () => (between.hidden = span.value !== ""));
    this.#ask(`What happened on ${stream}`, "Tell me", [labelled("In", span), between, answer], async () => {
      const query = span.value
        ? { from: new Date(Date.now() - Number(span.value) * 1000).toISOString(), to: new Date().toISOString() }
        : { from: new Date(value(from)).toISOString(), to: new Date(value(to)).toISOString() };
      const told = await this.#app.api.summary(stream, query);
      answer.replaceChildren(
        h("p", { class: "summary-text" }, told.text || "Nothing stood out."),
        h("p", { class: "counts" }, [`${told.captions} captions`, ...Object.entries(told.events).map(([what, n]) => `${what.replaceAll("_", " ")} ${n}×`), told.unwatched_s >= 1 && `not watched for ${duration(told.unwatched_s)}`, !told.whole && "too busy to look at all of it"].filter(Boolean).join(" · ")),
        h("ul", {}, ...told.highlights.map((event) => h("li", {}, `${clock(Date.parse(event.at))}  ${event.text || event.label}`))),
      );
      return true;
    }).classList.add("wide");
  }

  signIn() {
    if (this.#signing !== null) return;
    const token = field("Token", { type: "password", required: true, autocomplete: "current-password", placeholder: "sc_…" });
    const note = h("p", {}, "This server asks for a token. ‘streamcap token create’ makes one.");
    this.#signing = this.#ask("Sign in", "Sign in", [note, token], async () => {
      await this.#app.signedIn(await this.#app.api.signIn(value(token).trim()));
    }, false);
    this.#signing.addEventListener("close", () => (this.#signing = null));
  }

  help() {
    const toggles = [["shortcuts", "Shortcuts of a single key"], ["announce", "Tell screen readers of salient captions (one in ten seconds)"]].map(([name = "", word = ""]) => {
      const box = h("input", { type: "checkbox" });
      box.checked = setting(name) === "on";
      box.addEventListener("change", () => choose(name, box.checked ? "on" : "off"));
      return h("label", { class: "check" }, box, word);
    });
    const keys = h("dl", { class: "keys" }, ...KEYS.flatMap(([key = "", word = ""]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, word)]));
    this.#ask("Keys and settings", "", [keys, ...toggles], async () => {}).classList.add("wide");
  }

  /**
   * A dialog with a form.
   *
   * @param {string} title
   * @param {string} action what the button says; empty for none
   * @param {HTMLElement[]} parts
   * @param {() => Promise<boolean | void>} act true: the dialog stays open
   * @param {boolean} [closable]
   */
  #ask(title, action, parts, act, closable = true) {
    const fault = h("p", { class: "fault", role: "alert" });
    const submit = action ? h("button", { class: "primary" }, action) : null;
    const form = h("form", {}, h("h2", { id: "dialog-title" }, title), ...parts, fault,
      h("div", { class: "actions" }, h("span", { class: "grow" }), closable && button(action ? "Cancel" : "Close", () => dialog.close()), submit));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("cancel", (event) => !closable && event.preventDefault());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      say(fault, "");
      if (submit) submit.disabled = true;
      try {
        if ((await act()) !== true) dialog.close();
      } catch (error) {
        say(fault, why(error));
      }
      if (submit) submit.disabled = false;
    });
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  }
}

let fields = 0;

/** @param {string} label @param {HTMLElement} control */
function labelled(label, control) {
  control.id = `field-${(fields += 1)}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control);
}

/** @param {Choices} choices @param {string | null} [now] */
function picked(choices, now) {
  const list = h("select", {}, ...choices.map(([value, word]) => h("option", { value }, word)));
  if (now) list.value = now;
  return list;
}

/** @param {string} label @param {Choices} choices @param {string[]} now */
function ticked(label, choices, now) {
  const boxes = choices.map(([value, word]) => {
    const box = h("input", { type: "checkbox", value });
    box.checked = now.includes(value);
    return h("label", { class: "check" }, box, word);
  });
  return h("fieldset", { class: "ticks" }, h("legend", {}, label), ...boxes);
}

/** What is ticked. @param {HTMLElement} part */
function values(part) {
  return [...part.querySelectorAll("input")].filter((box) => box.checked).map((box) => box.value);
}

/** @param {string} label @param {import("./dom.js").Props} props */
function field(label, props) {
  return labelled(label, h("input", props));
}

/** @param {HTMLElement} part */
function value(part) {
  return part.querySelector("input")?.value ?? "";
}
