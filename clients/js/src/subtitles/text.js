// Text as it may stand on air: what it is made of, how wide it is, which way it runs. No DOM.

const MARKS_MAX = 8; // combining marks on one letter; no script stacks more, "zalgo" text does
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;
// What turns the order of neighbouring text round or is not to be seen: no caption needs it, and one that has it could
// make the rest of the line read backwards. Marks of direction (LRM, RLM, ALM) and joiners stay: Arabic and Indic scripts need them.
const INVISIBLE = /[\u00AD\u202A-\u202E\u2066-\u2069\uFEFF\uFFF9-\uFFFB]/g;
const MARKS = new RegExp(`(\\p{M}{${MARKS_MAX}})\\p{M}+`, "gu");
// East Asian Width W and F (UAX #11), and what is drawn as a picture.
const WIDE =
  /^[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97C\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF01-\uFF60\uFFE0-\uFFE6\u{17000}-\u{18CFF}\u{1F000}-\u{1FAFF}\u{20000}-\u{3FFFD}]|^\p{Emoji_Presentation}|\uFE0F/u;
const RIGHT_TO_LEFT =
  /^[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;
const LETTER = /^\p{L}/u;

const byGrapheme = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * One line of plain text: no line breaks, no control characters, nothing that turns the direction of what follows.
 *
 * @param {string} text
 */
export function clean(text) {
  return text
    .normalize("NFC")
    .replace(/\p{Cs}/gu, "\uFFFD") // half of a pair
    .replace(CONTROLS, " ")
    .replace(INVISIBLE, "")
    .replace(MARKS, "$1")
    .replace(/ +/g, " ")
    .trim();
}

/**
 * What readers take for characters.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function graphemes(text) {
  return Array.from(byGrapheme.segment(text), (each) => each.segment);
}

/**
 * Width in cells: one for a character, two for a full-width one (an ideograph, kana, hangul, a picture). Two cells are
 * also what such a character takes to read: 17 cells a second are 8.5 ideographs, where Chinese guides say 9.
 *
 * @param {string} text
 */
export function cells(text) {
  let count = 0;
  for (const { segment } of byGrapheme.segment(text)) count += WIDE.test(segment) ? 2 : 1;
  return count;
}

/**
 * The direction of a text: that of its first letter (UAX #9, P2).
 *
 * @param {string} text
 * @returns {"ltr" | "rtl"}
 */
export function direction(text) {
  for (const letter of text) if (LETTER.test(letter)) return RIGHT_TO_LEFT.test(letter) ? "rtl" : "ltr";
  return "ltr";
}
