// What tests of captions on a page need: what was shown and when, and another server's pages.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {{at: number, lines: string[]}} Shown `at` in seconds of the page; no lines: nothing */

const CLIENTS = fileURLToPath(new URL("../../clients", import.meta.url));
const TYPES = /** @type {Record<string, string>} */ ({ ".html": "text/html", ".js": "text/javascript", ".css": "text/css" });

/**
 * Note each change of what an overlay shows. Before the page is opened.
 *
 * @param {Page} page
 */
export async function record(page) {
  await page.addInitScript(() => {
    const seen = /** @type {{at: number, lines: string[]}[]} */ ([]);
    Object.assign(window, { seen });
    const look = () => {
      const captions = document.getElementById("captions");
      const on = captions?.classList.contains("on");
      const lines = on ? Array.from(captions?.children ?? [], (line) => line.textContent ?? "") : [];
      if (lines.join("\n") !== (seen[seen.length - 1]?.lines ?? []).join("\n")) seen.push({ at: performance.now() / 1000, lines });
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  });
}

/**
 * What was shown so far, as `record` noted it.
 *
 * @param {Page} page
 * @returns {Promise<Shown[]>}
 */
export function shown(page) {
  return page.evaluate(() => /** @type {any} */ (window).seen);
}

/** Another origin: a plain server of the folder `clients/js`, and of pages that a test writes. */
export class Elsewhere {
  /** @type {Map<string, string>} */ pages = new Map();
  #server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const page = this.pages.get(path);
    try {
      const body = page ?? readFileSync(join(CLIENTS, "js", path));
      response.writeHead(200, { "content-type": page === undefined ? (TYPES[extname(path)] ?? "text/plain") : "text/html" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });

  static async start() {
    const other = new Elsewhere();
    await new Promise((resolve) => other.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return other;
  }

  get origin() {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" && address ? address.port : ""}`;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
