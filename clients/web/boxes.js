// Boxes, names and ids over a picture. The drawing has the picture's own coordinates, and is fitted as the picture is.

import { svg } from "./dom.js";
import { fullName, inPicture, plate, shortName } from "./labels.js";

/**
 * @typedef {import("../js/src/messages.js").InstanceView} InstanceView
 * @typedef {{width: number, height: number, letter: number}} Picture its size, and the height of letters in its units
 */

const TONES = 6;
const LABEL_PX = 13;
const KEPT = 12; // moments whose boxes are held, for pictures that come a little later

/** An overlay for one picture. */
export class Boxes {
  #frames = svg("g");
  #names = svg("g", { class: "box-names" }); // above all frames, so that none crosses a name
  /** @type {{t: number, instances: InstanceView[]}[]} */ #moments = [];
  /** @type {InstanceView[]} */ #given = [];
  /** @type {InstanceView[]} those of them that lie in the picture */ #now = [];
  #size = { width: 16, height: 9 };
  #observer = new ResizeObserver(() => this.#draw());

  constructor() {
    this.element = svg("svg", { class: "boxes", viewBox: "0 0 16 9", "aria-hidden": "true" }, this.#frames, this.#names);
    this.#observer.observe(this.element);
  }

  /** The size of the picture below. @param {number} width @param {number} height */
  fit(width, height) {
    if (width === this.#size.width && height === this.#size.height) return;
    this.#size = { width, height };
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#draw();
  }

  /** What was where at a moment. @param {number} t @param {InstanceView[]} instances */
  learn(t, instances) {
    this.#moments.push({ t, instances });
    if (this.#moments.length > KEPT) this.#moments.shift();
  }

  /** Show the boxes of the moment nearest to a picture. @param {number} t media seconds; Infinity for the newest */
  show(t) {
    let best = this.#moments.at(-1);
    for (const each of this.#moments) {
      if (best !== undefined && Math.abs(each.t - t) < Math.abs(best.t - t)) best = each;
    }
    this.set(best !== undefined && (t === Infinity || Math.abs(best.t - t) < 1) ? best.instances : []);
  }

  /** @param {InstanceView[]} instances */
  set(instances) {
    if (instances === this.#given) return;
    this.#given = instances;
    this.#now = instances.filter(inPicture);
    this.#draw();
  }

  clear() {
    this.#moments = [];
    this.set([]);
  }

  close() {
    this.#observer.disconnect();
  }

  #draw() {
    const { width, height } = this.#size;
    const shown = this.element.getBoundingClientRect();
    const scale = Math.min(shown.width / width, shown.height / height) || 1;
    const letter = LABEL_PX / scale;
    const picture = { width, height, letter };
    /** @type {import("./labels.js").Plate[]} */
    const taken = [];
    const names = [];
    // The oldest has the first choice, so that a name does not jump when another box comes.
    for (const each of this.#now.toSorted((a, b) => a.id - b.id)) {
      const name = shortName(each);
      const place = name ? plate(name, scaled(each, picture), picture, taken) : null;
      if (place === null) continue;
      taken.push(place);
      names.push(label(each, name, place, letter));
    }
    this.#names.replaceChildren(...names);
    // The smallest is on top: it can be pointed at where it lies in a larger one.
    this.#frames.replaceChildren(...this.#now.toSorted((a, b) => areaOf(b) - areaOf(a)).map((each) => frame(each, picture)));
  }
}

/** @param {InstanceView} instance */
function areaOf({ box: [x0, y0, x1, y1] }) {
  return (x1 - x0) * (y1 - y0);
}

/**
 * The box in the picture's own units.
 *
 * @param {InstanceView} instance
 * @param {Picture} picture
 * @returns {import("./labels.js").Plate}
 */
function scaled({ box: [x0, y0, x1, y1] }, { width, height }) {
  return { x: x0 * width, y: y0 * height, width: (x1 - x0) * width, height: (y1 - y0) * height };
}

/** A frame, and all that is known of it for whoever points at it. @param {InstanceView} instance @param {Picture} picture */
function frame(instance, picture) {
  const box = scaled(instance, picture);
  const rx = picture.letter * 0.2;
  const full = fullName(instance);
  return svg(
    "g",
    { class: "box", "data-tone": instance.id % TONES, "data-hidden": instance.state === "hidden", "data-nameless": !shortName(instance) },
    svg("rect", { class: "box-shade", ...box, rx }),
    svg("rect", { class: "box-frame", ...box, rx }),
    label(instance, full, plate(full, box, picture, []) ?? box, picture.letter),
  );
}

/** @param {InstanceView} instance @param {string} words @param {import("./labels.js").Plate} place @param {number} letter */
function label(instance, words, place, letter) {
  return svg(
    "g",
    { class: "box-label", "data-tone": instance.id % TONES },
    svg("rect", { class: "box-plate", ...place, rx: letter * 0.2 }),
    svg("text", { x: place.x + letter * 0.35, y: place.y + letter * 1.08, "font-size": letter }, words),
  );
}
