// A question about a stream, answered by the server's vision–language model.

/**
 * @typedef {object} Cited a moment that an answer points at
 * @property {number} t media seconds
 * @property {string} [image] path of its frame on the server
 * @property {string} [text] what was said of it
 *
 * @typedef {object} Answer
 * @property {string} answer
 * @property {boolean} answered false where what is known does not tell
 * @property {number[]} times media seconds that it cites
 * @property {Cited[]} evidence
 * @property {string} source the model
 * @property {number} held messages that the server has of the time that it is about
 * @property {number} read of these; fewer only where there are very many: then spread over all of that time
 * @property {number} told captions that the model was told
 *
 * @typedef {object} AskOptions
 * @property {number} [at] a moment that it is about, media seconds
 * @property {number} [from] a span that it is about, media seconds
 * @property {number} [to]
 * @property {string} [token] for a server that asks for one
 * @property {(answer: string) => void} [ondraft] called with the answer as it grows
 * @property {AbortSignal} [signal]
 * @property {(path: string, init: RequestInit) => Promise<Response>} [fetch]
 */

const TIMEOUT_MS = 60_000; // a model that reads many pictures on a processor takes its time
const EVENTS = "text/event-stream";

/**
 * Ask a server something about one of its streams.
 *
 * @param {string} url of the server, such as `http://127.0.0.1:8750`; its `ws://` is the same; empty for this page's own
 * @param {string} stream
 * @param {string} question 1 to 1,000 characters
 * @param {AskOptions} [options]
 * @returns {Promise<Answer>}
 * @throws {Error} there is no answer; the message is the server's own line
 */
export async function ask(url, stream, question, options = {}) {
  const { at, from, to, token, ondraft, signal = AbortSignal.timeout(TIMEOUT_MS), fetch = globalThis.fetch } = options;
  const path = `${url.replace(/^ws/, "http").replace(/\/$/, "")}/v1/streams/${encodeURIComponent(stream)}/ask`;
  const headers = { "content-type": "application/json", accept: ondraft ? EVENTS : "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify({ question, at, from, to }), signal });
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    throw new Error(said?.detail ?? `the server answered ${answer.status}`);
  }
  if (!answer.headers.get("content-type")?.startsWith(EVENTS) || answer.body === null) return answer.json();
  return grown(answer.body, ondraft ?? (() => {}));
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {(answer: string) => void} ondraft
 * @returns {Promise<Answer>}
 */
async function grown(body, ondraft) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [kind = "", data = ""] = text.slice(0, end).split("\n").map((line) => line.slice(line.indexOf(":") + 1).trim());
      text = text.slice(end + 2);
      const said = JSON.parse(data);
      if (kind === "answer") return said;
      if (kind === "problem") throw new Error(said.detail);
      ondraft(said.answer);
    }
    if (done) throw new Error("the answer breaks off");
  }
}
