// A real feed server (Python, tests/feed_process.py), and a connection to it that can be cut.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const VENV = join(ROOT, ".venv/bin/python");
const PYTHON = process.env.PYTHON ?? (existsSync(VENV) ? VENV : "python3");

export class Server {
  #process;
  #lines;
  /** @type {string} */ url = "";

  /** @param {string[]} options */
  static async start(...options) {
    const server = new Server(options);
    server.url = (await server.#lines.next()).value;
    if (!server.url) throw new Error("the server did not start");
    return server;
  }

  /** @param {string[]} options */
  constructor(options) {
    /** @type {["pipe", "pipe", "inherit" | "ignore"]} */
    const stdio = ["pipe", "pipe", process.env.STREAMCAP_DEBUG ? "inherit" : "ignore"];
    this.#process = spawn(PYTHON, ["-m", "tests.feed_process", ...options], { cwd: ROOT, stdio });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  get port() {
    return new URL(this.url).port;
  }

  /** @param {string} command */
  async say(command) {
    this.#process.stdin.write(`${command}\n`);
    return JSON.parse((await this.#lines.next()).value);
  }

  /** @param {boolean} stop */
  freeze(stop) {
    this.#process.kill(stop ? "SIGSTOP" : "SIGCONT");
  }

  async kill() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = new Promise((resolve) => this.#process.once("exit", resolve));
      this.#process.kill("SIGKILL");
      await gone;
    }
  }
}

/** @param {string[]} words of `streamcap token create` */
export async function makeToken(...words) {
  const folder = mkdtempSync(join(tmpdir(), "streamcap-"));
  const file = join(folder, "tokens.json");
  const child = spawn(PYTHON, ["-m", "streamcap", "token", "create", "--tokens", file, ...words], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let token = "";
  for await (const piece of child.stdout) token += piece;
  return { file, token: token.trim(), remove: () => rmSync(folder, { recursive: true }) };
}

/** A TCP proxy that cuts each connection after so many bytes to the client, the last number for ever. */
export class CuttingProxy {
  connections = 0;
  #sockets = new Set();
  #server;

  /**
   * @param {string} port
   * @param {number[]} cuts
   */
  static async start(port, cuts) {
    const proxy = new CuttingProxy(port, cuts);
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return proxy;
  }

  /**
   * @param {string} port
   * @param {number[]} cuts
   */
  constructor(port, cuts) {
    this.#server = createServer((client) => {
      let left = cuts[this.connections] ?? Infinity;
      this.connections += 1;
      const server = connect(Number(port), "127.0.0.1");
      this.#sockets.add(client).add(server);
      for (const [socket, other] of [[client, server], [server, client]]) {
        socket?.on("error", () => {});
        socket?.on("close", () => other?.destroy());
      }
      client.pipe(server);
      server.on("data", (data) => {
        client.write(data.subarray(0, Math.max(0, left)));
        left -= data.length;
        if (left <= 0) client.destroySoon();
      });
    });
  }

  get url() {
    const address = this.#server.address();
    return `ws://127.0.0.1:${typeof address === "object" && address ? address.port : ""}`;
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
