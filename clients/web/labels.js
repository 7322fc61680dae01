// Where the names of boxes stand, so that they can be read: none covers another, and what has no name gets none.

/**
 * @typedef {import("../js/src/messages.js").InstanceView} InstanceView
 *
 * @typedef {object} Plate in units of the picture
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

const NAMELESS = "object"; // what the feed calls a thing that it cannot name
const LEAST = 0.008; // of the picture's width and height: less is a line at its edge
const LETTER_WIDE = 0.62; // of the letter's height, on average
const SIDE = 0.35; // room left and right of the words
const TALL = 1.45;

/** Whether there is anything to see of it: what leaves is followed to the edge, and past it. @param {InstanceView} instance */
export function inPicture({ box: [x0, y0, x1, y1] }) {
  return Math.min(x1, 1) - Math.max(x0, 0) >= LEAST && Math.min(y1, 1) - Math.max(y0, 0) >= LEAST;
}

/** @param {InstanceView} instance */
export function shortName(instance) {
  return instance.label === NAMELESS ? "" : `${instance.label} ${instance.id}`;
}

/** All that is known of it. @param {InstanceView} instance */
export function fullName(instance) {
  const state = instance.state ? [instance.state.replaceAll("_", " ")] : [];
  return [[...(instance.attributes ?? []), instance.label, instance.id].join(" "), ...state].join(", ");
}

/**
 * The plate for words at a box: above it, else below, else inside; the first place that is free, null for none.
 *
 * @param {string} words
 * @param {Plate} box
 * @param {{width: number, height: number, letter: number}} picture `letter`: the letters' height
 * @param {Plate[]} taken places of other plates
 * @returns {Plate | null}
 */
export function plate(words, box, { width, height, letter }, taken) {
  const wide = words.length * letter * LETTER_WIDE + 2 * SIDE * letter;
  const tall = letter * TALL;
  const lefts = [box.x, box.x + box.width - wide].map((x) => Math.max(0, Math.min(x, width - wide)));
  const tops = [box.y - tall, box.y + box.height, box.y, box.y + box.height - tall];
  for (const y of tops) {
    if (y < 0 || y + tall > height) continue;
    for (const x of lefts) {
      const place = { x, y, width: wide, height: tall };
      if (!taken.some((other) => overlap(place, other))) return place;
    }
  }
  return null;
}

/** @param {Plate} a @param {Plate} b */
function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
