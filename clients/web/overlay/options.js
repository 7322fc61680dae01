// The options of /overlay/STREAM, from its query. No DOM.

/**
 * @typedef {object} Options
 * @property {"lower-third" | "band" | "plain"} style
 * @property {"top" | "bottom"} edge
 * @property {"left" | "centre" | "right"} align
 * @property {number} size height of the letters' em, percent of the frame's height
 * @property {string} font family, empty for the built-in list
 * @property {string} colour of the text, CSS; empty for the style's own
 * @property {string} background CSS; empty for the style's own
 * @property {number} lines
 * @property {number} columns
 * @property {number} cps characters a second
 * @property {boolean} drafts
 * @property {string[]} kinds of captions
 * @property {number} minSaliency
 * @property {number} hold seconds
 * @property {number} fade milliseconds
 * @property {number} safe margin, percent of the frame
 * @property {string} lang BCP 47
 * @property {boolean} preview
 */

export const KINDS = ["full", "diff", "summary", "commentary"];
const STYLES = /** @type {const} */ (["lower-third", "band", "plain"]);
const EDGES = /** @type {const} */ (["top", "bottom"]);
const ALIGNS = /** @type {const} */ (["left", "centre", "right"]);
const COLOUR = /^(?:#(?:[\da-f]{3,4}|[\da-f]{6}|[\da-f]{8})|[a-z]{3,30}|(?:rgb|hsl)a?\([\d\s.,%/-]{3,60}\))$/i;
const BARE_HEX = /^(?:[\da-f]{3,4}|[\da-f]{6}|[\da-f]{8})$/i; // "#" in an address has to be written %23
const FONT = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;
const NOT_HERE = new Set(["token"]);

/**
 * @param {URLSearchParams} query
 * @param {(colour: string) => boolean} [isColour] whether CSS knows it, beyond its form
 * @returns {{options: Options, warnings: string[]}} what does not hold is its default, and a warning
 */
export function parseOptions(query, isColour = () => true) {
  const reader = new Reader(query, isColour);
  const style = reader.word("style", STYLES, "lower-third");
  const [edge, align] = reader.position(style === "lower-third" ? "left" : "centre");
  /** @type {Options} */
  const options = {
    style,
    edge,
    align,
    size: reader.number("size", 5, 2, 12),
    font: reader.text("font", FONT),
    colour: reader.colour("colour"),
    background: reader.colour("background"),
    lines: reader.number("lines", 2, 1, 3, true),
    columns: reader.number("columns", 42, 16, 42, true),
    cps: reader.number("cps", 17, 5, 17),
    drafts: reader.flag("drafts"),
    kinds: reader.words("kinds", KINDS, ["full", "diff", "commentary"]),
    minSaliency: reader.number("min-saliency", 0, 0, 1),
    hold: reader.number("hold", 7, 1, 60),
    fade: reader.number("fade", 160, 0, 2000),
    safe: reader.number("safe", 5, 0, 20),
    lang: reader.language("lang", "en"),
    preview: reader.flag("preview"),
  };
  return { options, warnings: reader.finish() };
}

class Reader {
  /** @type {URLSearchParams} */ #query;
  /** @type {(colour: string) => boolean} */ #isColour;
  /** @type {Set<string>} */ #known = new Set();
  /** @type {string[]} */ #warnings = [];

  /**
   * @param {URLSearchParams} query
   * @param {(colour: string) => boolean} isColour
   */
  constructor(query, isColour) {
    this.#query = query;
    this.#isColour = isColour;
  }

  finish() {
    for (const name of new Set(this.#query.keys())) {
      if (NOT_HERE.has(name)) this.#warnings.push("a token in the query is logged on its way, and not used: write #token=… instead");
      else if (!this.#known.has(name)) this.#warnings.push(`${name}: no such option`);
    }
    return this.#warnings;
  }

  /**
   * @template {string} T
   * @param {string} name
   * @param {readonly T[]} words
   * @param {T} otherwise
   * @returns {T}
   */
  word(name, words, otherwise) {
    return this.#read(name, otherwise, `one of ${words.join(", ")}`, (value) => words.find((word) => word === value));
  }

  /**
   * @param {string} name
   * @param {readonly string[]} words
   * @param {string[]} otherwise
   */
  words(name, words, otherwise) {
    return this.#read(name, otherwise, `some of ${words.join(",")}`, (value) => {
      const named = value.split(",").map((word) => word.trim());
      return named.every((word) => words.includes(word)) ? named : undefined;
    });
  }

  /**
   * @param {string} name
   * @param {number} otherwise
   * @param {number} min
   * @param {number} max
   * @param {boolean} [whole]
   */
  number(name, otherwise, min, max, whole = false) {
    return this.#read(name, otherwise, `a${whole ? " whole" : ""} number from ${min} to ${max}`, (value) => {
      const found = /^\d{1,4}(?:\.\d{1,4})?$/.test(value) ? Number(value) : NaN;
      return found >= min && found <= max && (!whole || Number.isInteger(found)) ? found : undefined;
    });
  }

  /** @param {string} name */
  flag(name) {
    return this.#read(name, false, "0 or 1", (value) => ({ 1: true, true: true, 0: false, false: false })[value]);
  }

  /**
   * @param {string} name
   * @param {RegExp} form
   */
  text(name, form) {
    return this.#read(name, "", "a name of letters, digits and spaces", (value) => (form.test(value) ? value : undefined));
  }

  /** @param {string} name */
  colour(name) {
    return this.#read(name, "", "a CSS colour: a name, rrggbb, rgb(…) or hsl(…)", (value) => {
      const colour = BARE_HEX.test(value) ? `#${value}` : value;
      return COLOUR.test(colour) && this.#isColour(colour) ? colour : undefined;
    });
  }

  /**
   * @param {string} name
   * @param {string} otherwise
   */
  language(name, otherwise) {
    return this.#read(name, otherwise, "a language tag such as en or pt-BR", (value) => {
      try {
        return Intl.getCanonicalLocales(value)[0];
      } catch {
        return undefined; // a RangeError: no tag
      }
    });
  }

  /**
   * @param {Options["align"]} align
   * @returns {[Options["edge"], Options["align"]]}
   */
  position(align) {
    /** @type {[Options["edge"], Options["align"]]} */
    const otherwise = ["bottom", align];
    return this.#read("position", otherwise, "top or bottom, with -left, -centre or -right", (value) => {
      const [first, second, ...more] = value.split("-");
      const edge = EDGES.find((each) => each === first);
      const side = second === undefined ? align : ALIGNS.find((each) => each === second);
      return edge && side && more.length === 0 ? /** @type {typeof otherwise} */ ([edge, side]) : undefined;
    });
  }

  /**
   * @template T
   * @param {string} name
   * @param {T} otherwise
   * @param {string} what
   * @param {(value: string) => T | undefined} parse
   * @returns {T}
   */
  #read(name, otherwise, what, parse) {
    this.#known.add(name);
    const value = this.#query.get(name);
    if (value === null) return otherwise;
    const found = parse(value.trim());
    if (found !== undefined) return found;
    this.#warnings.push(`${name}: ${JSON.stringify(value.slice(0, 80))} is not ${what}`);
    return otherwise;
  }
}
