// Moving pictures, from a server that falls silent.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { Api } from "../../../clients/web/api.js";
import { readPictures } from "../../../clients/web/mjpeg.js";

test("pictures are read until the connection falls silent", async (t) => {
  const server = createServer((_, answer) => {
    answer.write("--b\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\nStreamcap-Time: 1.500\r\n\r\nJPEG\r\n--b\r\n");
  }).listen(0);
  await once(server, "listening");
  t.mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const api = new Api();
    const address = /** @type {import("node:net").AddressInfo} */ (server.address());
    api.request = (path, init) => fetch(`http://127.0.0.1:${address.port}${path}`, init); // a page knows its origin
    /** @type {[string, number][]} */ const seen = [];
    let came = () => {};
    const first = new Promise((resolve) => (came = () => resolve(undefined)));
    const show = async (/** @type {Blob} */ picture, /** @type {number} */ at) => {
      seen.push([await picture.text(), at]);
      came();
    };
    const read = readPictures(api, "yard", show, { width: 320, fps: 5, signal: new AbortController().signal });
    await first;
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(20_000);
    await read;
    assert.deepEqual(seen, [["JPEG", 1.5]]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
