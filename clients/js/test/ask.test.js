// Questions: an answer in one piece, one that grows in pieces of any size, and refusals.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { ask } from "../src/index.js";

const ANSWER = { stream: "door", answer: "A white one — a van.", answered: true, times: [5.8], evidence: [{ t: 5.8, text: "A van parks." }], source: "vision:m", held: 3, read: 3, told: 2 };
/** @type {import("node:http").Server} */ let server;
/** @type {{url?: string, headers: import("node:http").IncomingHttpHeaders, body: string}} */ let asked;
/** @type {(response: import("node:http").ServerResponse) => void} */ let reply;
let url = "";

before(async () => {
  server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    asked = { url: request.url, headers: request.headers, body };
    reply(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});
after(() => server.close());

test("an answer in one piece", async () => {
  reply = (response) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(ANSWER));
  assert.deepEqual(await ask(`${url.replace("http", "ws")}/`, "front door", "Which colour?", { at: 6, token: "sc_1" }), ANSWER);
  assert.equal(asked.url, "/v1/streams/front%20door/ask");
  assert.equal(asked.headers.authorization, "Bearer sc_1");
  assert.deepEqual(JSON.parse(asked.body), { question: "Which colour?", at: 6 });
});

test("an answer that grows, however it is cut", async () => {
  const events = `event: draft\ndata: {"answer":"A white"}\n\nevent: draft\ndata: {"answer":"A white one —"}\n\nevent: answer\ndata: ${JSON.stringify(ANSWER)}\n\n`;
  const bytes = Buffer.from(events);
  for (const size of [1, 7, 1000]) {
    reply = async (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size));
      response.end();
    };
    /** @type {string[]} */ const drafts = [];
    assert.deepEqual(await ask(url, "door", "Which colour?", { ondraft: (draft) => drafts.push(draft) }), ANSWER);
    assert.deepEqual(drafts, ["A white", "A white one —"]);
  }
});

test("a refusal says why, before the answer and within it", async () => {
  reply = (response) => response.writeHead(409, { "content-type": "application/problem+json" }).end('{"detail":"no model"}');
  await assert.rejects(ask(url, "door", "?"), /no model/);
  reply = (response) => response.writeHead(200, { "content-type": "text/event-stream" }).end('event: problem\ndata: {"detail":"it broke"}\n\n');
  await assert.rejects(ask(url, "door", "?", { ondraft: () => {} }), /it broke/);
  reply = (response) => response.writeHead(200, { "content-type": "text/event-stream" }).end("event: draft\n");
  await assert.rejects(ask(url, "door", "?", { ondraft: () => {} }), /breaks off/);
});
