// Moving pictures, read part by part: unlike an <img> this knows the media time of each picture, so that boxes fit.

import { one } from "./api.js";

const BREAK = [13, 10, 13, 10];
const HEAD_MAX = 4096;
const SILENT_MS = 15_000; // the server repeats its picture more often; a connection that died says nothing

/**
 * Read a stream's moving pictures until the signal says stop, or the server does, or nothing comes any more.
 *
 * @param {import("./api.js").Api} api
 * @param {string} stream
 * @param {(picture: Blob, t: number) => Promise<void>} show waited for, so that a slow page gets fewer pictures
 * @param {{width: number, fps: number, signal: AbortSignal}} options
 * @throws {import("./api.js").Problem} the server has none
 */
export async function readPictures(api, stream, show, { width, fps, signal }) {
  const headers = { accept: "multipart/mixed" }; // WebKit gives no script what comes as x-mixed-replace
  const answer = await api.request(`${one(stream)}/preview.mjpg?width=${width}&fps=${fps}`, { headers, signal });
  const reader = answer.body?.getReader();
  if (reader === undefined) return;
  let held = new Uint8Array(0);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let silent;
  try {
    for (;;) {
      silent = setTimeout(() => void reader.cancel(), SILENT_MS);
      const { done, value } = await reader.read();
      clearTimeout(silent);
      if (done) return;
      held = joined(held, value);
      for (let part = take(held); part !== null; part = take(held)) {
        held = part.rest;
        await show(new Blob([part.jpeg], { type: "image/jpeg" }), part.t);
      }
    }
  } finally {
    clearTimeout(silent);
  }
}

/**
 * The first whole picture.
 *
 * @param {Uint8Array<ArrayBuffer>} held
 * @returns {{jpeg: Uint8Array<ArrayBuffer>, t: number, rest: Uint8Array<ArrayBuffer>} | null}
 */
function take(held) {
  const end = headEnd(held);
  if (end < 0) return null;
  const head = new TextDecoder("latin1").decode(held.subarray(0, end)).toLowerCase();
  const length = Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0);
  const t = Number(/streamcap-time: ([\d.]+)/.exec(head)?.[1] ?? 0);
  const begin = end + BREAK.length;
  if (held.length < begin + length) return null;
  return { jpeg: held.slice(begin, begin + length), t, rest: held.subarray(begin + length) };
}

/** @param {Uint8Array} held */
function headEnd(held) {
  const limit = Math.min(held.length - BREAK.length, HEAD_MAX);
  for (let at = 0; at <= limit; at += 1) {
    if (BREAK.every((byte, offset) => held[at + offset] === byte)) return at;
  }
  return -1;
}

/** @param {Uint8Array} held @param {Uint8Array} more */
function joined(held, more) {
  const both = new Uint8Array(held.length + more.length);
  both.set(held);
  both.set(more, held.length);
  return both;
}
