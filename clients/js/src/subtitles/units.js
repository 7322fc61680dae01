// Where a text may be broken, and how well. No DOM.

import { cells, graphemes } from "./text.js";

/**
 * @typedef {object} Unit what is not torn apart: a word with its punctuation
 * @property {string} text
 * @property {number} width cells
 * @property {boolean} space a space stands between it and the next one
 * @property {number} cost of a break behind it
 */

// How bad a break is, of a line or a page, from the end of a sentence to the middle of a noun phrase. The order is that of the BBC's
// guidelines (3.4, "Break at natural points"): punctuation, before conjunctions, before prepositions; never between article
// and noun, preposition and what follows, parts of a verb. The steps are wide enough that sense goes before even lines.
export const COST = { sentence: 0, clause: 0.1, comma: 0.3, conjunction: 0.4, preposition: 0.7, word: 1.2, particle: 1.6, bound: 3, hard: 4 };

// A sentence that has only just begun is better begun on the next line.
const JUST_BEGUN = 1;
const JUST_BEGUN_UNITS = 3;

const CONJUNCTIONS = words("and but or nor so yet while as because although though if unless until since than who which that when where before after then");
const PREPOSITIONS = words("about above across after against along among around at behind below beneath beside between beyond by down during for from in inside into near of off on onto out outside over past through to toward towards under up upon with within without");
const PARTICLES = words("away back down off on out over up"); // often of the verb before them: "goes on", "picks up"
const BOUND = words(
  // articles, determiners, possessives
  "a an the this that these those some any no each every another one two three four five six seven eight nine ten several many few both all its his her their our my your",
  // subjects and parts of verbs
  "he she it they we i you who is are was were be been being has have had do does did will would can could may might must shall should not seems appears",
  "very more most too quite almost nearly about",
  // adjectives that stand right before their noun here
  "red green blue yellow orange brown black white grey gray pink purple dark light bright beige silver golden large small big little young old left right upper lower first second third last next other same new",
);
const ABBREVIATION = /^(?:\p{Lu}|Mr|Mrs|Ms|Dr|St|No|vs|ca|approx|e\.g|i\.e)\.$/u;

// Scripts that put no spaces between words; a dictionary finds these.
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u3000-\u303F\uFF01-\uFF60]/u;
// What begins no line and what ends none (JIS X 4051, in short).
const NOT_FIRST = /^[\p{Pe}\p{Pf}、。，．・：；？！,.:;?!%‰…‥ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ\p{M}]/u;
const NOT_LAST = /[\p{Ps}\p{Pi}]$/u;

const SENTENCE_END = /[.!?…。！？؟۔।]["'”’»)\]」』]*$/u;
const CLAUSE_END = /[;:—–；：؛]["'”’»)\]」』]*$/u;
const COMMA_END = /[,、，،]["'”’»)\]」』]*$/u;
const LOWER = /^["'“‘«([]*\p{Ll}/u;

/**
 * The units of a clean text.
 *
 * @param {string} text as `clean()` gives it
 * @param {string} language BCP 47; English has lists of words that bind, all have punctuation
 * @param {number} columns cells of a line: what is wider is torn apart
 * @returns {Unit[]}
 */
export function unitsOf(text, language, columns) {
  /** @type {Unit[]} */
  const units = [];
  for (const token of text.split(" ")) {
    if (!token) continue;
    for (const piece of UNSPACED.test(token) ? dictionaryWords(token, language) : [token]) {
      for (const part of torn(piece, columns)) units.push({ text: part, width: cells(part), space: false, cost: COST.hard });
      const last = units[units.length - 1];
      if (last) last.cost = COST.word;
    }
    const last = units[units.length - 1];
    if (last) last.space = true;
  }
  const english = /^en\b/i.test(language);
  units.forEach((unit, n) => {
    const next = units[n + 1];
    if (unit.cost !== COST.hard && next) unit.cost = breakCost(unit.text, next.text, english);
  });
  let begun = 0; // units of the sentence so far
  for (const unit of units) {
    begun = unit.cost === COST.sentence ? 0 : begun + 1;
    if (begun > 0 && begun <= JUST_BEGUN_UNITS) unit.cost += JUST_BEGUN;
  }
  const last = units[units.length - 1];
  if (last) {
    last.space = false;
    last.cost = COST.sentence;
  }
  return units;
}

/**
 * @param {string} before
 * @param {string} after
 * @param {boolean} english
 */
function breakCost(before, after, english) {
  if (SENTENCE_END.test(before) && !ABBREVIATION.test(before) && !LOWER.test(after)) return COST.sentence;
  if (CLAUSE_END.test(before)) return COST.clause;
  if (COMMA_END.test(before)) return COST.comma;
  if (!english) return COST.word;
  const [last, first] = [bare(before), bare(after)];
  if (CONJUNCTIONS.has(first)) return COST.conjunction;
  // A number belongs to what it counts.
  if (BOUND.has(last) || PREPOSITIONS.has(last) || CONJUNCTIONS.has(last) || /^[\d.,]+$/.test(last)) return COST.bound;
  if (PARTICLES.has(first)) return COST.particle;
  return PREPOSITIONS.has(first) ? COST.preposition : COST.word;
}

/**
 * @param {string} token
 * @param {string} language
 * @returns {string[]}
 */
function dictionaryWords(token, language) {
  /** @type {string[]} */
  const found = [];
  for (const { segment } of new Intl.Segmenter(language, { granularity: "word" }).segment(token)) {
    const last = found[found.length - 1];
    if (last !== undefined && (NOT_FIRST.test(segment) || NOT_LAST.test(last))) found[found.length - 1] = last + segment;
    else found.push(segment);
  }
  return found;
}

/**
 * A piece that is wider than a line, in parts that are not.
 *
 * @param {string} piece
 * @param {number} columns
 */
function torn(piece, columns) {
  if (cells(piece) <= columns) return [piece];
  const parts = [""];
  let width = 0;
  for (const grapheme of graphemes(piece)) {
    const more = cells(grapheme);
    if (width + more > columns) {
      parts.push("");
      width = 0;
    }
    parts[parts.length - 1] += grapheme;
    width += more;
  }
  return parts;
}

/** @param {string} word */
function bare(word) {
  return word.toLowerCase().replace(/^[^\p{L}\d]+|[^\p{L}\d]+$/gu, "");
}

/** @param {string[]} lists */
function words(...lists) {
  return new Set(lists.join(" ").split(" "));
}
