// The scale of the time line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { scale } from "../../../clients/web/timeline.js";

test("marks stand at round times of day, and not too near to each other", () => {
  const start = new Date(2026, 2, 4, 10, 13, 7).getTime() / 1000;
  for (const [seconds, width] of /** @type {[number, number][]} */ ([[20, 600], [300, 800], [1800, 380], [7200, 900], [86_400, 340]])) {
    const marks = scale(start, seconds, width);
    assert.ok(marks.length > 0);
    marks.forEach(({ x }, at) => assert.ok(x >= 0 && x <= width && (at === 0 || x - (marks[at - 1]?.x ?? 0) >= 80)));
  }
  const [first] = scale(start, 300, 800);
  assert.match(first?.words ?? "", /10:14/);
  assert.ok(Math.abs((first?.x ?? 0) - (53 / 300) * 800) < 0.01, "53 s after the start");
  assert.match(scale(start, 20, 600)[0]?.words ?? "", /10:13:10/);
});
