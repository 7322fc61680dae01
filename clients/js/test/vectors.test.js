// The vectors that the server's own tests and every client's share.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { FRAME_MAX_CHARS, FeedState, OPEN_MAX, WireError, decode, isDurable } from "../src/index.js";

/** @param {string} name */
function vectors(name) {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf8")).vectors;
}

describe("messages", () => {
  for (const { name, message } of vectors("messages")) {
    test(name, () => assert.deepEqual(decode(JSON.stringify(message)), message));
  }
  test("there is one of every type", () => {
    const types = new Set(vectors("messages").map((vector) => vector.message.type));
    assert.equal(types.size, 11);
  });
});

describe("frames that are none", () => {
  for (const { name, text, message } of vectors("invalid")) {
    test(name, () => assert.throws(() => decode(text ?? JSON.stringify(message)), WireError));
  }
  test("bytes", () => assert.throws(() => decode(new ArrayBuffer(3)), WireError));
  test("names of every object", () => {
    for (const type of ["constructor", "__proto__", "toString"]) {
      assert.throws(() => decode(`{"type": "${type}", "stream": "cam", "at": "2026-11-20T05:00:00Z"}`), WireError);
    }
    const heartbeat = { type: "heartbeat", at: "2026-11-20T05:00:00Z", seq: 1 };
    const polluted = JSON.stringify(heartbeat).replace("{", '{"__proto__": {"stream": "cam"}, ');
    assert.throws(() => decode(polluted), WireError);
  });
  test("too large", () => assert.throws(() => decode(" ".repeat(FRAME_MAX_CHARS + 1)), WireError));
  test("deep", () => assert.throws(() => decode("[".repeat(1e6)), WireError));
});

describe("folding", () => {
  for (const { name, complete, messages, state: wanted } of vectors("fold")) {
    test(name, () => {
      const state = new FeedState("cam", { complete });
      for (const message of messages) state.apply(decode(JSON.stringify(message)));
      assert.deepEqual(state.summary(), wanted);
    });
  }
  test("another stream's message is refused", () => {
    const heartbeat = decode('{"type": "heartbeat", "stream": "yard", "at": "2026-11-20T05:00:00Z", "seq": 1}');
    assert.throws(() => new FeedState("cam").apply(heartbeat), RangeError);
    assert.equal(isDurable(heartbeat), false);
  });
  test("drafts are bounded, and which one goes does not depend on the order", () => {
    const drafts = Array.from({ length: OPEN_MAX + 8 }, (_, n) =>
      decode(
        JSON.stringify({
          ...vectors("messages").find((vector) => vector.name === "draft, first revision").message,
          id: `c${n}`,
          start: (n * 7) % 11,
        }),
      ),
    );
    const [one, other] = [drafts, [...drafts].reverse()].map((order) => {
      const state = new FeedState("cam");
      for (const draft of order) state.apply(draft);
      return [...state.open.keys()].sort();
    });
    assert.equal(one?.length, OPEN_MAX);
    assert.deepEqual(one, other);
  });
});
