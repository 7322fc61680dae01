// The client against a real server: killed and started again, cut off anywhere, asked for tokens.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, describe, test } from "node:test";

import { CaptionClient, feedUrl } from "../src/index.js";
import { CuttingProxy, Server, makeToken } from "./server.js";

const CAM = "/v1/streams/cam/captions";
const QUICK = { backoffFirstMs: 20, backoffMaxMs: 100 };
const PATIENCE_MS = 60_000; // for what ought to take a second or two

/** @type {{close?: () => unknown, kill?: () => unknown}[]} */
const left = [];

afterEach(async () => {
  for (const each of left.splice(0).reverse()) await (each.kill ? each.kill() : each.close?.());
});

/** @param {string[]} options */
async function serve(...options) {
  const server = await Server.start(...options);
  left.push(server);
  return server;
}

/**
 * A client, connected, and all that it told.
 *
 * @param {string} url
 * @param {import("../src/index.js").ClientOptions} [options]
 */
function follow(url, options = {}) {
  const client = new CaptionClient(url, { ...QUICK, ...options });
  left.push(client);
  /** @type {any[]} */
  const messages = [];
  /** @type {any[]} */
  const states = [];
  /** @type {any[]} */
  const missed = [];
  client.addEventListener("message", (event) => messages.push(event.message));
  client.addEventListener("state", (event) => states.push(event));
  client.addEventListener("gap", (event) => event.missed && missed.push(event.missed));
  client.connect();
  const seqs = () => messages.filter((message) => message.prev !== undefined).map((message) => message.seq);
  return { client, messages, states, missed, seqs };
}

/** @param {() => unknown} holds */
async function until(holds) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `it did not come to that: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** @param {number} count */
const upTo = (count, from = 1) => Array.from({ length: count - from + 1 }, (_, n) => from + n);

test("the address that a person means", () => {
  assert.equal(feedUrl("http://host:8750").href, "ws://host:8750/v1/captions?streams=*");
  assert.equal(feedUrl("https://host/").href, "wss://host/v1/captions?streams=*");
  assert.equal(feedUrl("ws://host/v1/captions?streams=a").href, "ws://host/v1/captions?streams=a");
  assert.equal(feedUrl(`wss://host${CAM}#x`).href, `wss://host${CAM}`);
  for (const bad of ["ftp://host", "host:8750", "", "ws://host/?token=sc_x"]) assert.throws(() => feedUrl(bad), TypeError);
});

describe("a conversation", () => {
  test("hello, snapshot, live, the end", async () => {
    const server = await serve("--events", "3");
    const { client, messages, states, seqs } = follow(server.url + CAM);
    /** @type {string[]} */
    const typed = [];
    for (const type of /** @type {const} */ (["hello", "snapshot", "caption", "event", "status", "gap"])) {
      client.addEventListener(type, (event) => typed.push(event.type));
    }
    await until(() => messages.length === 2);
    assert.equal(client.state, "open");
    for (const command of ["draft c1 0 A man", "draft c1 1 A man comes", "final c1 A man comes in.", "event 9", "gap"]) {
      await server.say(command);
    }
    await until(() => messages.length === 7);
    assert.deepEqual(typed, ["hello", "snapshot", "caption", "caption", "caption", "event", "gap"]);
    assert.deepEqual(seqs(), [4, 5, 6]);
    assert.deepEqual(client.states.get("cam")?.summary(), await server.say("state"));
    assert.deepEqual(client.place(), { epoch: "e1", after: { cam: 6 } });
    await server.say("status ended");
    await until(() => client.state === "closed");
    assert.deepEqual(states.map((event) => event.state), ["connecting", "open", "closed"]);
    assert.equal(states.at(-1).code, 1000);
  });

  test("options, and going on from an earlier place", async () => {
    const server = await serve("--events", "5");
    const place = { epoch: "e1", after: { cam: 3 } };
    const some = follow(server.url, { place, interim: false });
    await until(() => some.messages.some((message) => message.type === "caught_up"));
    assert.deepEqual(some.seqs(), [4, 5]);
    const kinds = follow(server.url, { kinds: ["caption"] });
    await until(() => kinds.messages.length === 2);
    for (const command of ["event 6", "draft c1 0 x", "final c1 x"]) await server.say(command);
    await until(() => kinds.messages.length === 4 && some.messages.length === 6);
    assert.deepEqual(some.messages.slice(-2).map((message) => message.status), [undefined, "final"]);
    const other = follow(server.url, { place: { epoch: "another", after: { cam: 3 } } });
    await until(() => other.messages.some((message) => message.type === "snapshot"));
    assert.deepEqual(other.messages.map((message) => message.type), ["hello", "error", "snapshot"]);
    assert.deepEqual(other.missed, [{ after: 3, upto: null }]);
  });

  test("a stream that is not there ends it for good", async () => {
    const server = await serve();
    const { client, states, messages } = follow(`${server.url}/v1/streams/none/captions`);
    await until(() => client.state === "closed");
    assert.equal(states.at(-1).code, 4404);
    assert.equal(messages[0].code, "no_such_stream");
  });

  test("closing from this side", async () => {
    const server = await serve();
    const { client, messages, states } = follow(server.url);
    await until(() => messages.length === 2);
    client.close();
    client.close();
    assert.equal(states.length, 3);
    const deadline = Date.now() + PATIENCE_MS;
    while ((await server.say("count")) !== 0) assert.ok(Date.now() < deadline);
    await server.say("event 1");
    client.connect();
    await until(() => messages.at(-1).type === "caught_up");
    assert.equal(client.states.get("cam")?.seq, 1);
  });
});

describe("losses", () => {
  test("a server that is killed and comes back with its journal", async () => {
    let server = await serve("--events", "3");
    const { client, messages, missed, seqs } = follow(server.url);
    await until(() => messages.length === 2);
    await server.say("event 4");
    await until(() => seqs().length === 1);
    await server.kill();
    await until(() => client.state === "waiting");
    server = await serve("--events", "9", "--port", server.port);
    await until(() => client.states.get("cam")?.seq === 9);
    await server.say("event 10");
    await until(() => seqs().at(-1) === 10);
    assert.deepEqual(seqs(), upTo(10, 4));
    assert.deepEqual(missed, []);
    assert.deepEqual(client.states.get("cam")?.holes, []);
  });

  test("one that comes back without it, and one that has kept too little", async () => {
    let server = await serve("--events", "3");
    const { client, messages, missed } = follow(server.url);
    await until(() => messages.length === 2);
    await server.kill();
    server = await serve("--epoch", "e2", "--events", "1", "--port", server.port);
    await until(() => messages.filter((message) => message.type === "snapshot").length === 2);
    assert.deepEqual(missed, [{ after: 3, upto: null }]);
    assert.deepEqual(client.states.get("cam")?.summary(), await server.say("state"));
    await server.kill();
    server = await serve("--epoch", "e2", "--events", "50", "--keep", "5", "--port", server.port);
    await until(() => messages.filter((message) => message.type === "snapshot").length === 3);
    assert.deepEqual(missed.slice(1), [{ after: 1, upto: 50 }]);
  });

  for (const cuts of [[700, 900, 1200, 3000, 500], Array(8).fill(420), [4096, 5000, 15000]]) {
    test(`a connection that breaks after ${cuts} bytes`, async () => {
      const server = await serve("--heartbeat", "0.1");
      const proxy = await CuttingProxy.start(server.port, cuts);
      left.push(proxy);
      const { client, seqs, missed } = follow(proxy.url);
      await until(() => client.states.size > 0);
      for (let n = 0; n < 60; n += 1) {
        await server.say(`draft c${n} 0 x`);
        await server.say(n % 3 ? `final c${n} x` : `event ${n}`);
        if (n === 40) proxy.cut();
      }
      const truth = await server.say("state");
      await until(() => client.states.get("cam")?.seq === truth.seq && client.state === "open");
      await until(() => client.states.get("cam")?.open.size === Object.keys(truth.open).length);
      assert.deepEqual(client.states.get("cam")?.summary(), truth);
      const got = seqs();
      assert.deepEqual(got, upTo(got.at(-1), got[0]), "none doubled, none missing");
      assert.deepEqual(missed, []);
      assert.ok(proxy.connections > 2);
    });
  }

  test("no server at all: pauses grow, with jitter, and it can be left", async () => {
    const { client, states } = follow("ws://127.0.0.1:1");
    await until(() => states.filter((event) => event.state === "waiting").length >= 5);
    const pauses = states.filter((event) => event.state === "waiting").map((event) => event.retryMs);
    for (const [n, pause] of pauses.entries()) {
      const longest = Math.min(100, 20 * 2 ** (n + 1));
      assert.ok(pause >= longest / 2 && pause <= longest, `${pauses}`);
    }
    client.close();
    const count = states.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    assert.equal(states.length, count);
  });

  test("without reconnecting a loss is the end", async () => {
    const server = await serve();
    const { client, messages } = follow(server.url, { reconnect: false });
    await until(() => messages.length === 2);
    await server.kill();
    await until(() => client.state === "closed");
  });

  test("a server that falls silent", async () => {
    const server = await serve("--heartbeat", "0.2", "--events", "1");
    const { client, states } = follow(server.url);
    await until(() => client.state === "open");
    server.freeze(true);
    const begun = Date.now();
    await until(() => client.state === "waiting");
    assert.ok(Date.now() - begun > 3000 && states.at(-1).reason.includes("nothing was heard"));
    server.freeze(false);
    await until(() => client.state === "open");
  });

  test("something that is no feed", async () => {
    const http = createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
    await new Promise((resolve) => http.once("listening", resolve));
    left.push({ close: () => http.close() });
    const address = /** @type {import("node:net").AddressInfo} */ (http.address());
    const { client, states } = follow(`ws://127.0.0.1:${address.port}`);
    await until(() => states.some((event) => event.state === "waiting"));
    client.close();
  });
});

describe("tokens", async () => {
  const reader = await makeToken("--scope", "read", "--stream", "cam");
  after(() => reader.remove());

  test("sent as the first message, by a value or a function", async () => {
    const server = await serve("--tokens", reader.file, "--events", "2");
    for (const token of [reader.token, () => reader.token, async () => reader.token]) {
      const { client, messages } = follow(server.url, { token });
      await until(() => messages.length === 2);
      assert.equal(client.states.get("cam")?.seq, 2);
      client.close();
    }
  });

  test("none, a wrong one, one for something else", async () => {
    const server = await serve("--tokens", reader.file);
    for (const [path, token, code] of [
      [CAM, `${reader.token.slice(0, -4)}AAAA`, 4401],
      ["/v1/streams/yard/captions", reader.token, 4403],
    ]) {
      const { client, states } = follow(`${server.url}${path}`, { token: String(token) });
      await until(() => client.state === "closed");
      assert.equal(states.at(-1).code, code);
      assert.ok(!String(states.at(-1).reason).includes("sc_"));
    }
    const broken = follow(server.url, { token: () => Promise.reject(new Error("locked")) });
    await until(() => broken.states.some((event) => event.state === "waiting" && event.reason.includes("locked")));
  });

  test("a server that asks for none does not mind one", async () => {
    const server = await serve();
    const { messages } = follow(server.url, { token: reader.token });
    await until(() => messages.length === 2);
  });
});
