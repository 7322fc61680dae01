// The HTTP API: requests to this server, problems as errors, and the session of a server that asks for a token.

/**
 * @typedef {object} StreamView a stream as the API lists it
 * @property {string} id
 * @property {string | null} state
 * @property {string} reason
 * @property {string} detail
 * @property {string} source
 * @property {number | null} fps
 * @property {number | null} target_fps
 * @property {number | null} analysed_fps
 * @property {string | null} profile
 * @property {string | null} captioner
 * @property {string | null} prompt of a vision–language captioner
 * @property {string | null} mode
 * @property {string[] | null} marks
 * @property {string | null} contradictions
 * @property {string | null} ask where questions go; null where the server has no model
 * @property {boolean} paused
 * @property {number} frames
 * @property {number} drops
 * @property {number} seq
 *
 * @typedef {object} Session
 * @property {string | null} token
 * @property {string[]} scopes
 * @property {string[]} streams
 *
 * @typedef {import("../js/src/index.js").Message} Message
 * @typedef {import("../js/src/index.js").CaptionMessage} CaptionMessage
 * @typedef {import("../js/src/index.js").EventMessage} EventMessage
 *
 * @typedef {object} HistoryPage
 * @property {string} epoch
 * @property {number} earliest
 * @property {number} newest
 * @property {number} [next]
 * @property {Message[]} messages
 *
 * @typedef {object} Summary
 * @property {string} text
 * @property {number} seconds
 * @property {number} unwatched_s
 * @property {number} captions
 * @property {Record<string, number>} events
 * @property {EventMessage[]} highlights
 * @property {boolean} whole
 */

const TIMEOUT_MS = 15_000;

/** The server said no; `message` is its own line. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Requests to one server. Asks for a token by the event `signin`. */
export class Api extends EventTarget {
  /** In this page's memory only: a session ends with the server, and the page goes on where the token still holds. */
  #token = "";
  /** @type {Promise<Session> | null} */ #renewing = null;

  /** @returns {Promise<Session>} what this page may do */
  async session() {
    return (await this.request("/v1/session")).json();
  }

  /**
   * Exchange a token for the session's cookie.
   *
   * @param {string} token
   * @returns {Promise<Session>}
   */
  async signIn(token) {
    const answer = await this.#send("/v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
    if (!answer.ok) throw await problem(answer);
    this.#token = token;
    return answer.json();
  }

  async signOut() {
    this.#token = "";
    await this.request("/v1/session", { method: "DELETE" });
  }

  /** The session anew after the server has forgotten it. @returns {Promise<Session | null>} null: a person has to help */
  async renew() {
    if (!this.#token) return null;
    this.#renewing ??= this.signIn(this.#token).finally(() => (this.#renewing = null));
    try {
      return await this.#renewing;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) this.#token = "";
      return null;
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<Response>} of success
   * @throws {Problem} the server said no
   * @throws {TypeError} the server did not answer
   */
  async request(path, init = {}) {
    let answer = await this.#send(path, init);
    if (answer.status === 401 && (await this.renew()) !== null) answer = await this.#send(path, init);
    if (answer.status === 401) this.dispatchEvent(new Event("signin"));
    if (!answer.ok && answer.status !== 304) throw await problem(answer);
    return answer;
  }

  /** @param {string} path @param {RequestInit} init */
  #send(path, init) {
    return fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", ...init });
  }

  /** @returns {Promise<StreamView[]>} */
  async streams() {
    return (await (await this.request("/v1/streams")).json()).streams;
  }

  /** @param {{id: string, source: string, fps?: number, profile?: string}} settings */
  async add(settings) {
    await this.request("/v1/streams", json("POST", settings));
  }

  /** @param {string} stream @param {Record<string, string | number | boolean>} settings */
  async change(stream, settings) {
    await this.request(one(stream), json("PATCH", settings));
  }

  /** @param {string} stream */
  async remove(stream) {
    await this.request(one(stream), { method: "DELETE" });
  }

  /**
   * @param {string} stream
   * @param {Record<string, string | number>} query
   * @returns {Promise<HistoryPage>}
   */
  async history(stream, query) {
    return (await this.request(`${one(stream)}/captions?${words(query)}`)).json();
  }

  /** @param {Record<string, string | number>} query @returns {Promise<(CaptionMessage | EventMessage)[]>} newest first */
  async search(query) {
    return (await (await this.request(`/v1/search?${words(query)}`)).json()).messages;
  }

  /** @param {string} stream @param {Record<string, string | number>} query @returns {Promise<Summary>} */
  async summary(stream, query) {
    return (await this.request(`${one(stream)}/summary?${words(query)}`)).json();
  }

  /** The kept frame nearest to a moment. @param {string} stream @param {number} t @returns {Promise<{blob: Blob, t: number}>} */
  async frame(stream, t) {
    const answer = await this.request(`${one(stream)}/frames/${t}.jpg`);
    return { blob: await answer.blob(), t: Number(answer.headers.get("streamcap-time")) };
  }
}

/** Where a stream's routes are. @param {string} stream */
export function one(stream) {
  return `/v1/streams/${encodeURIComponent(stream)}`;
}

/** @param {Record<string, string | number>} query */
export function words(query) {
  return new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
}

/** @param {string} method @param {object} body @returns {RequestInit} */
function json(method, body) {
  return { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** @param {Response} answer */
export async function problem(answer) {
  const said = await answer.json().catch(() => null);
  const lines = (said?.errors ?? []).map((/** @type {{loc?: string[], msg?: string}} */ e) => `${e.loc?.at(-1)}: ${e.msg}`);
  return new Problem(answer.status, lines.join("; ") || said?.detail || answer.statusText || `status ${answer.status}`);
}
