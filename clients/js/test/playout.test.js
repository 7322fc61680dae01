// What is on air, second by second, without a clock.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import fc from "fast-check";

import { HOLD_S, OLD_S, Playout, SHORTEST_S, STALE_S, WAITING_MAX } from "../src/subtitles/playout.js";

const LONG = "A person in a red jacket walks past the shop, stops at the window and looks inside. A car parks at the kerb. Two people get out of it and cross the street.";
/** @param {string} id @param {string} text @param {number} [saliency] */
const final = (id, text, saliency = 0.5) => ({ id, text, saliency, final: true });
/** @param {Playout} playout @param {number} now */
const read = (playout, now) => playout.at(now)?.page.lines.join(" ") ?? null;

/**
 * Let it run as a page does: asked when it wants to be.
 *
 * @param {Playout} playout
 * @param {number} from
 * @param {number} to
 */
function run(playout, from, to) {
  const seen = [];
  for (let now = from; now <= to; ) {
    const air = playout.at(now);
    const key = air && `${air.id}/${air.index}`;
    if (key !== seen[seen.length - 1]?.key) seen.push({ key, at: now, air });
    const next = playout.next();
    if (next === Infinity) break;
    assert.ok(next > now, "it asks for a moment to come");
    now = next;
  }
  return seen;
}

describe("playout", () => {
  test("each page is on air for as long as it takes to read, then the screen is cleared", () => {
    const playout = new Playout();
    playout.add(final("a", LONG), 0);
    const seen = run(playout, 0, 100);
    const count = seen[0]?.air?.count ?? 0;
    assert.ok(count > 1);
    assert.equal(seen.length, count + 1);
    seen.slice(0, -1).forEach(({ air, at }, n) => {
      const shown = (seen[n + 1]?.at ?? 0) - at;
      assert.ok(shown >= (air?.page.cells ?? 0) / 17 - 1e-9 && shown >= SHORTEST_S);
    });
    assert.equal(seen[count]?.key, null);
  });
  test("a newer one waits until what is on air was read, and no longer", () => {
    const playout = new Playout();
    playout.add(final("a", "A person enters from the left."), 0);
    playout.add(final("b", "The person stops."), 0.5);
    assert.equal(read(playout, 1.7), "A person enters from the left.");
    assert.equal(read(playout, playout.next()), "The person stops.");
    assert.ok(Math.abs(playout.next() - (30 / 17 + HOLD_S)) < 1e-9);
  });
  test("the hold is that of the newest; a caption on a clear screen is shown at once", () => {
    const playout = new Playout({ holdS: 3 });
    playout.add(final("a", "A person enters."), 0);
    assert.equal(read(playout, 2.9), "A person enters.");
    assert.equal(read(playout, 3), null);
    playout.add(final("b", "It leaves."), 10);
    assert.equal(read(playout, 10), "It leaves.");
  });
  test("slower readers: fewer characters a second", () => {
    const [slow, quick] = [new Playout({ cps: 10 }), new Playout()];
    for (const playout of [slow, quick]) playout.add(final("a", LONG), 0);
    assert.ok(Math.abs(slow.next() / quick.next() - 1.7) < 1e-9);
  });
  test("at most so many wait; the least salient goes, of equal ones the oldest", () => {
    const playout = new Playout();
    playout.add(final("air", LONG), 0);
    [0.9, 0.2, 0.5, 0.5, 0.5, 0.1].forEach((saliency, n) => playout.add(final(`c${n}`, "Go.", saliency), 0.1));
    assert.equal(playout.waiting, WAITING_MAX);
    const shown = run(playout, 0.2, 60).flatMap(({ air }) => (air && air.id !== "air" ? [air.id] : []));
    assert.deepEqual(shown, ["c0", "c2", "c3", "c4"], "in the order in which they were said");
    assert.equal(playout.dropped, 2);
  });
  test("more reading than there is time for is thinned out, the most salient stays", () => {
    const playout = new Playout();
    playout.add(final("air", LONG), 0);
    for (let n = 0; n < 4; n += 1) playout.add(final(`c${n}`, LONG, n === 1 ? 0.9 : 0.3), 0.1);
    const shown = run(playout, 0.2, 200).flatMap(({ air }) => (air ? [air.id] : []));
    assert.ok(shown.includes("c1"));
    assert.ok(playout.dropped >= 2);
  });
  test("what waited too long is passed over for what is new", () => {
    const playout = new Playout();
    playout.add(final("air", "A person enters."), 0);
    playout.add(final("old", "It stops.", 0.2), 0.1);
    playout.add(final("new", "A car crashes.", 0.6), 0.2);
    assert.equal(read(playout, STALE_S + 1), "A car crashes.");
    assert.equal(playout.dropped, 1);
  });
  test("an urgent one cuts a long one short, at the end of a sentence", () => {
    const text = "A person in a red jacket walks past the shop window. A car parks at the kerb and two people get out. Leaves move in the wind, and it is quiet again.";
    const playout = new Playout();
    playout.add(final("long", text, 0.3), 0);
    playout.add(final("urgent", "A person falls.", 0.95), 0.5);
    const keys = run(playout, 0.5, 100).map(({ key }) => key);
    assert.deepEqual(keys.slice(0, 2), ["long/0", "urgent/0"]);
    assert.ok(!keys.includes("long/1"));
  });
  test("a caption that is taken back goes from the air, and from the queue", () => {
    const playout = new Playout();
    playout.add(final("a", "A person enters."), 0);
    playout.add(final("b", "It stops."), 0.1);
    playout.add(final("c", "It leaves."), 0.2);
    playout.retract("b", 0.3);
    playout.retract("a", 0.4);
    assert.equal(read(playout, 0.4), "It leaves.");
    playout.add(final("a", "A person enters."), 0.5);
    assert.equal(playout.waiting, 0, "it does not come back");
  });
  test("a draft that is withdrawn goes from the air, and its id may come again", () => {
    const playout = new Playout();
    playout.add({ id: "a", text: "A person leaves.", final: false }, 0);
    assert.equal(read(playout, 0), "A person leaves.");
    playout.withdraw("b", 0.1);
    assert.equal(read(playout, 0.1), "A person leaves.");
    playout.withdraw("a", 0.2);
    assert.equal(playout.at(0.2), null);
    playout.add(final("a", "A car comes."), 0.3);
    assert.equal(read(playout, 0.3), "A car comes.");
    playout.withdraw("a", 0.4);
    assert.equal(read(playout, 0.4), "A car comes.", "a final is retracted, not withdrawn");
  });
  test("a final that comes twice is shown once, until ids mean something else", () => {
    const playout = new Playout();
    playout.add(final("a", "A person enters."), 0);
    playout.add(final("a", "A person enters."), 20);
    assert.equal(playout.at(20), null);
    playout.forget();
    playout.add(final("a", "A car comes."), 21);
    assert.equal(read(playout, 21), "A car comes.");
  });
  test("the end of the stream: what waits is shown, then nothing is held", () => {
    const playout = new Playout();
    playout.add(final("a", "A person enters."), 0);
    playout.add(final("b", "It leaves."), 0.1);
    playout.end(0.2);
    assert.deepEqual(run(playout, 0.2, 60).map(({ key }) => key), ["a/0", "b/0", null]);
    assert.equal(playout.next(), Infinity);
  });
  test("what was said long ago does not go on air", () => {
    const playout = new Playout();
    playout.add({ ...final("a", "A person enters."), age: OLD_S + 1 }, 0);
    assert.equal(playout.at(0), null);
    playout.add({ ...final("b", "A person leaves."), age: 5 }, 0);
    assert.equal(read(playout, 0), "A person leaves.");
  });
  test("a draft grows where it stands, and settles without being shown again", () => {
    const playout = new Playout();
    playout.add({ id: "a", text: "A person", saliency: 0.5, final: false }, 0);
    assert.deepEqual([read(playout, 0), playout.at(0)?.final], ["A person", false]);
    playout.add({ id: "a", text: "A person enters.", saliency: 0.5, final: false }, 0.4);
    playout.add(final("a", "A person enters."), 0.8);
    assert.deepEqual([read(playout, 0.8), playout.at(0.8)?.final, playout.waiting], ["A person enters.", true, 0]);
    assert.ok(Math.abs(playout.next() - (0.4 + HOLD_S)) < 1e-9, "time counts from when its words were there");
  });
  test("a draft does not push a final off the air", () => {
    const playout = new Playout();
    playout.add(final("a", "A person enters."), 0);
    playout.add({ id: "b", text: "It", saliency: 1, final: false }, 0.1);
    assert.equal(read(playout, 0.2), "A person enters.");
  });
});

describe("of any feed", () => {
  const words = fc.array(fc.constantFrom("A", "person", "walks", "left.", "and", "the", "car,", "stops;", "again"), { minLength: 1, maxLength: 50 });
  const feed = fc.array(
    fc.record({ wait: fc.double({ min: 0, max: 4, noNaN: true }), text: words.map((each) => each.join(" ")), saliency: fc.double({ min: 0, max: 1, noNaN: true }) }),
    { maxLength: 40 },
  );
  test("no page is cut short, none is shown twice, nothing piles up, and it ends", () => {
    fc.assert(
      fc.property(feed, (captions) => {
        const playout = new Playout();
        /** @type {Map<string, number>} */ const begun = new Map();
        /** @type {{key: string, air: import("../src/subtitles/playout.js").OnAir, at: number} | null} */ let last = null;
        /** @param {number} now */
        const look = (now) => {
          const air = playout.at(now);
          const key = air ? `${air.id}/${air.index}` : "";
          if (key === (last?.key ?? "")) return;
          if (last) assert.ok(now - last.at >= Math.max(SHORTEST_S, last.air.page.cells / 17) - 1e-9);
          if (air) {
            assert.ok(!begun.has(key), `${key} twice`);
            begun.set(key, now);
          }
          last = air && { key, air, at: now };
        };
        let now = 0;
        captions.forEach(({ wait, text, saliency }, n) => {
          const until = now + wait;
          while (playout.next() < until) look((now = playout.next()));
          now = until;
          playout.add(final(`c${n}`, text, saliency), now);
          look(now);
          assert.ok(playout.waiting <= WAITING_MAX);
        });
        const end = now + 150;
        while (playout.next() < end) look((now = playout.next()));
        assert.equal(playout.at(end), null);
      }),
    );
  });
});
