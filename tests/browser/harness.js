// A real server (streamcap serve) and a real browser (Chromium), for tests of what people see.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VENV = join(ROOT, ".venv/bin/python");
export const PYTHON = process.env.PYTHON ?? (existsSync(VENV) ? VENV : "python3");
const START_MS = 300_000; // loading the models, on a busy machine
// For what ought to take a second or two; a wait ends as soon as what it waits for is there.
const PATIENCE_MS = 90_000;

const BROWSER =
  process.env.CHROMIUM ??
  ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

// Fake camera, no questions, and WebRTC over loopback. The first are for machines without a display or a sandbox.
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--allow-loopback-in-peer-connection",
  "--autoplay-policy=no-user-gesture-required",
];

/**
 * Why these tests cannot run here; false where they can. Where STREAMCAP_REQUIRE names `browser` they are not skipped,
 * and fail instead.
 *
 * @param {{weights?: boolean}} [needs] weights: whether a stream is to be captioned
 * @returns {string | false}
 */
export function skipped({ weights: captioning = true } = {}) {
  const required = (process.env.STREAMCAP_REQUIRE ?? "").split(",").includes("browser");
  if (required) return false;
  if (!BROWSER) return "no Chromium here (CHROMIUM names it)";
  if (!captioning) return false;
  const weights = spawnSync(PYTHON, ["-m", "streamcap", "models", "pull", "default"], { cwd: ROOT });
  return weights.status === 0 ? false : "no weights";
}

/** The film that `make demo` plays, where its weights were fetched; else empty. */
export function demoClip() {
  const code = "from streamcap.models.resolver import Resolver; print(Resolver().ensure('demo-clip-street'))";
  return spawnSync(PYTHON, ["-c", code], { cwd: ROOT, encoding: "utf8" }).stdout.trim();
}

/** @param {string[]} words @param {number} port */
function serve(words, port) {
  const all = ["-m", "streamcap", "serve", "--port", String(port), ...words];
  return spawn(PYTHON, all, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
}

/** A running server, with a data folder of its own. */
export class Server {
  /** @type {import("node:child_process").ChildProcess} */ #process;
  /** @type {string} */ #folder;
  /** @type {string[]} */ #words;
  /** @type {string} */ url = "";

  /**
   * @param {{streams?: Record<string, string>, token?: string, options?: string[], settings?: string}} settings
   *   `token`: the words of `streamcap token create`, where one is to be asked for; `settings`: a settings file's text.
   */
  static async start({ streams = {}, token, options = [], settings = "" }) {
    const folder = mkdtempSync(join(tmpdir(), "streamcap-browser-"));
    const file = join(folder, "streamcap.toml");
    writeFileSync(file, settings);
    let secret = "";
    if (token !== undefined) {
      const words = ["-m", "streamcap", "token", "create", ...token.split(" "), "--data", folder];
      secret = spawnSync(PYTHON, words, { cwd: ROOT, encoding: "utf8" }).stdout.trim();
    }
    const named = Object.entries(streams).flatMap(([id, source]) => ["--stream", `${id}=${source}`]);
    const words = ["-c", file, "--data", folder, ...named, ...options];
    const server = new Server(serve(words, 0), folder, words);
    server.token = secret;
    server.url = await server.#announced();
    return server;
  }

  /** Kill it without a word; it may be started again. */
  async crash() {
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await gone;
  }

  /** Start it again on the same data and port. */
  async again() {
    this.#process = serve(this.#words, Number(new URL(this.url).port));
    await this.#announced();
  }

  token = "";

  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} folder
   * @param {string[]} words
   */
  constructor(child, folder, words) {
    this.#process = child;
    this.#folder = folder;
    this.#words = words;
  }

  async #announced() {
    const stderr = this.#process.stderr;
    if (stderr === null) throw new Error("no stderr");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), START_MS);
    /** @type {string[]} */
    const said = [];
    for await (const line of createInterface({ input: stderr })) {
      said.push(line);
      const match = /serves .* on ws:\/\/(\S+)/.exec(line);
      if (match) {
        clearTimeout(timer);
        stderr.resume(); // else it would stand still once the pipe is full
        return `http://${match[1]}`;
      }
    }
    throw new Error(`the server did not start:\n${said.join("\n")}`);
  }

  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = new Promise((resolve) => this.#process.once("exit", resolve));
      this.#process.kill("SIGINT");
      const late = setTimeout(() => this.#process.kill("SIGKILL"), PATIENCE_MS);
      await gone;
      clearTimeout(late);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A browser with a fake camera; further flags may be given. @param {string[]} flags */
export async function launch(flags = []) {
  const browser = await chromium.launch({
    executablePath: BROWSER ?? "chromium",
    args: [...FLAGS, ...flags],
    headless: true,
    timeout: PATIENCE_MS,
  });
  const contextOf = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await contextOf(options);
    context.setDefaultTimeout(PATIENCE_MS);
    return context;
  };
  return browser;
}

/** A browser that can be killed without a word. */
export async function launchToKill() {
  const server = await chromium.launchServer({ executablePath: BROWSER ?? "chromium", args: FLAGS, headless: true });
  const browser = await chromium.connect(server.wsEndpoint());
  return { browser, kill: () => server.kill() }; // the whole process group, by SIGKILL
}

/**
 * Wait until something holds, looking again every 100 ms.
 *
 * @template T
 * @param {() => Promise<T | false | null | undefined>} look
 * @param {string} what
 * @param {number} patience milliseconds
 * @returns {Promise<T>}
 */
export async function until(look, what, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A model server that answers by a rule (tests/vision.py). */
export class ModelServer {
  #process = spawn(PYTHON, ["-m", "tests.vision"], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
  url = "";

  static async start() {
    const server = new ModelServer();
    for await (const line of createInterface({ input: server.#process.stdout })) {
      server.url = line;
      return server;
    }
    throw new Error("the model server ended");
  }

  async stop() {
    this.#process.kill("SIGKILL");
  }
}

/** A server whose streams say what they are told to (tests/page_server.py). */
export class Speaker {
  #process;
  #lines;
  url = "";

  /** @param {number} streams */
  static async start(streams) {
    const speaker = new Speaker(streams);
    speaker.url = String(await speaker.#line()).replace("ws://", "http://");
    return speaker;
  }

  /** @param {number} streams */
  constructor(streams) {
    const words = ["-m", "tests.page_server", "--streams", String(streams)];
    this.#process = spawn(PYTHON, words, { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** @param {string} command */
  async say(command) {
    this.#process.stdin.write(`${command}\n`);
    return JSON.parse(await this.#line());
  }

  async #line() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the server ended");
    return value;
  }

  async stop() {
    this.#process.kill("SIGKILL");
  }
}
