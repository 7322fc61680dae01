// Where the names of boxes stand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fullName, inPicture, plate, shortName } from "../../../clients/web/labels.js";

const PICTURE = { width: 640, height: 360, letter: 13 };

/** @param {import("../../../clients/web/labels.js").Plate} a @param {import("../../../clients/web/labels.js").Plate} b */
const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

test("a name is short, what is known stands in the full one, and what has no name gets none", () => {
  /** @type {[number, number, number, number]} */
  const box = [0, 0, 1, 1];
  const person = { id: 17, label: "person", box, attributes: ["black top"], state: "sitting" };
  assert.equal(shortName(person), "person 17");
  assert.equal(fullName(person), "black top person 17, sitting");
  assert.equal(shortName({ id: 12, label: "object", box }), "");
  assert.equal(fullName({ id: 12, label: "object", box }), "object 12");
});

test("names of boxes that lie on each other do not, and stay in the picture", () => {
  /** @type {import("../../../clients/web/labels.js").Plate[]} */
  const taken = [];
  for (let n = 0; n < 40; n += 1) {
    const place = plate(`person ${n}`, { x: 560 + (n % 5) * 4, y: n * 2, width: 60, height: 120 }, PICTURE, taken);
    if (place === null) continue;
    assert.ok(place.x >= 0 && place.y >= 0 && place.x + place.width <= 640 && place.y + place.height <= 360);
    assert.ok(!taken.some((other) => meet(place, other)));
    taken.push(place);
  }
  assert.ok(taken.length >= 8, `${taken.length} names`);
});

test("a name stands above its box, and inside where the box fills the picture", () => {
  const above = plate("car 1", { x: 100, y: 100, width: 80, height: 60 }, PICTURE, []);
  assert.ok(above !== null && above.x === 100 && above.y + above.height === 100);
  const inside = plate("car 1", { x: 0, y: 0, width: 640, height: 360 }, PICTURE, []);
  assert.ok(inside !== null && inside.y === 0);
});

test("what is past the edge has no box and no name", () => {
  const at = (/** @type {[number, number, number, number]} */ ...box) => inPicture({ id: 1, label: "person", box });
  assert.ok(at(0.1, 0.1, 0.12, 0.2) && at(0.9, 0.2, 1, 0.9));
  assert.ok(!at(0.998, 0.2, 1, 0.9) && !at(1.02, 0.2, 1.2, 0.9) && !at(0.2, 1, 0.4, 1));
});
