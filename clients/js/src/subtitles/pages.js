// A caption in pages of a few lines, broken where sense allows: the cheapest of all ways to break it. No DOM.

import { cells, clean, direction, graphemes } from "./text.js";
import { COST, unitsOf } from "./units.js";

/**
 * @typedef {import("./units.js").Unit} Unit
 *
 * @typedef {object} Page what is on the screen at one time
 * @property {string[]} lines
 * @property {"ltr" | "rtl"} direction
 * @property {number} cells to read, spaces and one for each line break included
 * @property {boolean} sentence it ends where a sentence ends
 *
 * @typedef {object} PageOptions
 * @property {number} [columns] cells of a line; 42
 * @property {number} [lines] lines of a page; 2
 * @property {string} [language] BCP 47; en
 */

export const COLUMNS = 42; // Netflix Timed Text Style Guide, EBU and BBC online: 37 to 42
export const LINES = 2; // BBC Subtitle Guidelines 3.3: avoid three or more
// About 24 s at 17 cells a second. What is longer ends at a sentence before, or with "…": a caption that holds the
// screen for a minute is worse than one that is not whole.
export const CAPTION_CELLS = 400;

// Weights of the ways to break, in the unit of COST. A page and a line are dear, so that there are few; squares make
// lines even, little enough that sense goes first.
const PAGE = 1;
const LINE = 1.5;
const UNEVEN = 2.5;
const PAGE_END = 2.5; // a subtitle is a whole sentence where it can be (BBC 3.2)
const ORPHAN = 4;
const ORPHAN_LINE_CELLS = 6;
const ORPHAN_PAGE_CELLS = 16;

/**
 * @typedef {{cost: number, breaks: number[]}} Way `breaks`: the unit behind the last one of each line
 */

/**
 * Lay a caption out.
 *
 * @param {string} text any text; line breaks and control characters in it are spaces
 * @param {PageOptions} [options]
 * @returns {Page[]} none for a text without anything to see
 */
export function paginate(text, { columns = COLUMNS, lines = LINES, language = "en" } = {}) {
  const whole = clean(text.slice(0, 64 * CAPTION_CELLS)); // bounded work, whatever comes
  const units = shortened(unitsOf(whole, language, columns), columns);
  /** @type {{cost: number, from: number, breaks: number[]}[]} the cheapest way to each unit */
  const best = [{ cost: 0, from: 0, breaks: [] }];
  for (let from = 0; from < units.length; from += 1) {
    const before = best[from];
    if (before === undefined) continue;
    for (const [end, way] of pagesFrom(units, from, columns, lines)) {
      const last = units[end - 1];
      const cost = before.cost + way.cost + PAGE + PAGE_END * (last?.cost ?? 0) + pageOrphan(units, from, end);
      const known = best[end];
      if (known === undefined || cost < known.cost) best[end] = { cost, from, breaks: way.breaks };
    }
  }
  const dir = direction(whole);
  /** @type {Page[]} */
  const pages = [];
  for (let end = units.length; end > 0; ) {
    const step = best[end];
    if (step === undefined) throw new Error("a unit is wider than a line"); // units are torn to fit
    pages.unshift(page(units, step.from, step.breaks, dir));
    end = step.from;
  }
  return pages;
}

/**
 * All pages that begin with one unit, by their end, each broken in the cheapest way.
 *
 * @param {Unit[]} units
 * @param {number} from
 * @param {number} columns
 * @param {number} lines
 */
function pagesFrom(units, from, columns, lines) {
  /** @type {Map<number, Way>} */
  const pages = new Map();
  /** @type {Map<number, Way>} */
  let level = new Map([[from, { cost: 0, breaks: [] }]]);
  for (let line = 0; line < lines; line += 1) {
    /** @type {Map<number, Way>} */
    const next = new Map();
    for (const [start, way] of level) {
      let width = 0;
      for (let end = start + 1; end <= units.length; end += 1) {
        width += widthOf(units, start, end - 1);
        if (width > columns) break;
        const cost =
          way.cost +
          LINE +
          UNEVEN * (width / columns) ** 2 +
          (start > from ? (units[start - 1]?.cost ?? 0) : 0) +
          (isOrphan(start, end, width, units.length) ? ORPHAN : 0);
        const found = { cost, breaks: [...way.breaks, end] };
        if (cost < (next.get(end)?.cost ?? Infinity)) next.set(end, found);
        if (cost < (pages.get(end)?.cost ?? Infinity)) pages.set(end, found);
      }
    }
    level = next;
  }
  return pages;
}

/**
 * What unit `n` adds to a line that begins with unit `start`.
 *
 * @param {Unit[]} units
 * @param {number} start
 * @param {number} n
 */
function widthOf(units, start, n) {
  return (units[n]?.width ?? 0) + (n > start && units[n - 1]?.space ? 1 : 0);
}

/**
 * @param {number} start
 * @param {number} end
 * @param {number} width
 * @param {number} all
 */
function isOrphan(start, end, width, all) {
  return all > 1 && (end - start === 1 || width < ORPHAN_LINE_CELLS);
}

/**
 * @param {Unit[]} units
 * @param {number} from
 * @param {number} end
 */
function pageOrphan(units, from, end) {
  if (from === 0 && end === units.length) return 0;
  let width = 0;
  for (let n = from; n < end; n += 1) width += widthOf(units, from, n);
  return width < ORPHAN_PAGE_CELLS ? ORPHAN : 0;
}

/**
 * @param {Unit[]} units
 * @param {number} from
 * @param {number[]} breaks
 * @param {"ltr" | "rtl"} dir
 * @returns {Page}
 */
function page(units, from, breaks, dir) {
  const lines = breaks.map((end, n) => join(units.slice(n === 0 ? from : breaks[n - 1], end)));
  const last = units[(breaks[breaks.length - 1] ?? 0) - 1];
  const count = lines.reduce((sum, line) => sum + cells(line), lines.length - 1);
  return { lines, direction: dir, cells: count, sentence: last?.cost === COST.sentence };
}

/** @param {Unit[]} units */
function join(units) {
  return units.map((unit, n) => unit.text + (unit.space && n < units.length - 1 ? " " : "")).join("");
}

/**
 * @param {Unit[]} units
 * @param {number} columns
 */
function shortened(units, columns) {
  let width = 0;
  const fit = units.findIndex((_, n) => (width += widthOf(units, 0, n)) > CAPTION_CELLS);
  if (fit < 0) return units;
  const kept = units.slice(0, fit);
  const sentence = kept.reduce((found, unit, n) => (unit.cost === COST.sentence ? n : found), -1);
  if (sentence >= kept.length / 2) return kept.slice(0, sentence + 1);
  const last = kept.pop();
  if (last) {
    const text = `${last.width < columns ? last.text : graphemes(last.text).slice(0, -1).join("")}…`;
    kept.push({ text, width: cells(text), space: false, cost: COST.sentence });
  }
  return kept;
}
