// Boxes, names and ids over a picture. The drawing has the picture's own coordinates, and is fitted as the picture is.

import { svg } from "./dom.js";

/** @typedef {import("../js/src/messages.js").InstanceView} InstanceView */

const TONES = 6;
const LABEL_PX = 13;
const KEPT = 12; // moments whose boxes are held, for pictures that come a little later

/** An overlay for one picture. */
export class Boxes {
  #group = svg("g");
  /** @type {{t: number, instances: InstanceView[]}[]} */ #moments = [];
  /** @type {InstanceView[]} */ #now = [];
  #size = { width: 16, height: 9 };
  #observer = new ResizeObserver(() => this.#draw());

  constructor() {
    this.element = svg("svg", { class: "boxes", viewBox: "0 0 16 9", "aria-hidden": "true" }, this.#group);
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
    if (instances === this.#now) return;
    this.#now = instances;
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
    this.#group.replaceChildren(...this.#now.map((each) => drawn(each, width, height, letter)));
  }
}

/** @param {InstanceView} instance @param {number} width @param {number} height @param {number} letter */
function drawn(instance, width, height, letter) {
  const [x0, y0, x1, y1] = instance.box;
  const [x, y, w, h] = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height];
  const words = [...(instance.attributes ?? []).slice(0, 1), instance.label, String(instance.id)].join(" ");
  const wide = words.length * letter * 0.62 + letter * 0.7;
  const tall = letter * 1.45;
  const above = y >= tall ? y - tall : Math.min(y + h, height - tall);
  const left = Math.max(0, Math.min(x, width - wide));
  return svg(
    "g",
    { class: "box", "data-tone": instance.id % TONES, "data-hidden": instance.state === "hidden" },
    svg("rect", { class: "box-shade", x, y, width: w, height: h, rx: letter * 0.2 }),
    svg("rect", { class: "box-frame", x, y, width: w, height: h, rx: letter * 0.2 }),
    svg("rect", { class: "box-plate", x: left, y: above, width: wide, height: tall, rx: letter * 0.2 }),
    svg("text", { x: left + letter * 0.35, y: above + letter * 1.08, "font-size": letter }, words),
  );
}
