// Lines and pages: what the guides ask for, on sentences as the captioner says them, and on text of any kind.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import fc from "fast-check";

import { CAPTION_CELLS, paginate } from "../src/subtitles/pages.js";
import { cells, clean, direction, graphemes } from "../src/subtitles/text.js";

/** @param {string} text @param {object} [options] */
const lines = (text, options) => paginate(text, options).map((page) => page.lines);

describe("lines", () => {
  test("what fits stands on one line", () => {
    assert.deepEqual(lines("The camera pans right. The lights go off."), [["The camera pans right. The lights go off."]]);
  });
  for (const [text, expected] of /** @type {[string, string[][]][]} */ ([
    // at a comma, rather than where the line is full
    ["A woman and a child cross the street, while a white van passes behind them.",
      [["A woman and a child cross the street,", "while a white van passes behind them."]]],
    // before a conjunction
    ["The second person picks up a bag and leaves to the right.",
      [["The second person picks up a bag", "and leaves to the right."]]],
    // never between article and noun, colour and noun, preposition and what follows
    ["A person in a dark blue jacket is standing beside the red car.",
      [["A person in a dark blue jacket is standing", "beside the red car."]]],
    // no word alone, also where the first line could take all but it
    ["Two people in white coats enter from the left.", [["Two people in white coats enter", "from the left."]]],
    // a page ends with a sentence
    ["A street by day: a person in a red jacket walks to the left, a van is parked. Leaves move in the wind.",
      [["A street by day: a person in a red jacket", "walks to the left, a van is parked."], ["Leaves move in the wind."]]],
    ["A person in a red jacket walks past the shop window. A car parks at the kerb and two people get out.",
      [["A person in a red jacket walks", "past the shop window."], ["A car parks at the kerb", "and two people get out."]]],
    // at a semicolon rather than at a comma
    ["Two people walk to the right, one of them with a large bag; the other one, in a yellow coat, carries an umbrella.",
      [["Two people walk to the right,", "one of them with a large bag;"], ["the other one, in a yellow coat,", "carries an umbrella."]]],
    // a full stop that ends no sentence
    ["The sign of the shop reads St. Mary and it is lit from the inside.",
      [["The sign of the shop reads St. Mary", "and it is lit from the inside."]]],
  ])) {
    test(text, () => assert.deepEqual(lines(text), expected));
  }
  test("other widths and numbers of lines", () => {
    const text = "The second person picks up a bag and leaves to the right; the first person waits by the door.";
    assert.ok(lines(text, { columns: 20, lines: 1 }).flat().every((line) => line.length <= 20));
    assert.equal(lines(text, { lines: 3 }).length, 1);
  });
  test("a word that is wider than a line is torn, between characters", () => {
    const flags = "🇫🇷".repeat(40); // four UTF-16 units each, and one character
    for (const line of lines(flags).flat()) assert.ok(cells(line) <= 42 && graphemes(line).every((one) => one === "🇫🇷"));
    assert.deepEqual(lines("x".repeat(50)).flat().join(""), "x".repeat(50));
  });
  test("what is longer than half a minute of reading ends at a sentence, or says that it goes on", () => {
    const sentences = "A person walks past the shop. ".repeat(40);
    assert.ok(lines(sentences).flat().join(" ").endsWith("shop."));
    assert.ok(lines("word ".repeat(500)).flat().join(" ").endsWith("…"));
    const read = paginate("word ".repeat(500)).reduce((sum, page) => sum + page.cells, 0);
    assert.ok(read <= CAPTION_CELLS + 1, `${read}`);
  });
  test("nothing to see: no page", () => assert.deepEqual(paginate(" \n\u200b\u202e ".replace("\u200b", "")), []));
});

describe("other scripts", () => {
  test("Chinese breaks between words, full-width characters count twice, commas begin no line", () => {
    const text = "一个穿红色夹克的人从左边进来，停在第二辆车旁边，然后拿起一个袋子从右边离开了，街上又空了。";
    const found = lines(text, { language: "zh" }).flat();
    assert.equal(found.join(""), text);
    for (const line of found) {
      assert.ok(graphemes(line).length <= 21, line);
      assert.ok(!/^[，。]/.test(line), line);
    }
    assert.ok(found.slice(0, -1).every((line) => line.endsWith("，")), "at clause borders");
  });
  test("Japanese and Thai have no spaces either", () => {
    for (const [language, text] of [
      ["ja", "夜の通りで、赤いジャケットを着た人が左から入ってきて、二台目の車のそばで立ち止まりました。"],
      ["th", "ชายคนหนึ่งสวมเสื้อสีแดงเดินเข้ามาจากทางซ้ายและหยุดอยู่ข้างรถคันที่สองแล้วเดินออกไปทางขวา"],
    ]) {
      const found = lines(text ?? "", { language }).flat();
      assert.ok(found.length > 1 && found.every((line) => cells(line) <= 42));
      assert.equal(found.join(""), text);
    }
  });
  test("Arabic and Hebrew run from the right", () => {
    const [page] = paginate("دخل رجل يرتدي سترة حمراء من اليسار وتوقف بجانب السيارة", { language: "ar" });
    assert.equal(page?.direction, "rtl");
    assert.equal(direction("12: שלום"), "rtl");
    assert.equal(direction("A sign says שלום"), "ltr");
  });
  test("an emoji of several parts is one character, two cells wide", () => {
    assert.deepEqual(graphemes("👩‍👩‍👧é"), ["👩‍👩‍👧", "é"]);
    assert.equal(cells("👩‍👩‍👧"), 2);
  });
});

describe("hostile text", () => {
  test("line breaks, controls and turned order", () => {
    assert.equal(clean("a\r\nb\u0000c\u2028d\u202egnp.exe"), "a b c dgnp.exe");
    assert.equal(clean("\ud83d"), "\ufffd");
  });
  test("marks heaped on a letter", () => assert.ok(clean(`a${"\u0301".repeat(500)}`).length <= 9));
});

describe("of any text", () => {
  const texts = fc.oneof(
    fc.array(fc.constantFrom(..."A a person the in red , . and 3 walks leaves. left; 人 車。 خرج x 👩‍👩‍👧 extraordinarily".split(" ")), { maxLength: 80 }).map((words) => words.join(" ")),
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.string({ unit: "grapheme", maxLength: 300 }),
  );
  const sizes = fc.record({ columns: fc.integer({ min: 16, max: 42 }), lines: fc.integer({ min: 1, max: 3 }) });

  test("lines fit, pages fit, no line is empty", () => {
    fc.assert(
      fc.property(texts, sizes, (text, size) => {
        for (const page of paginate(text, size)) {
          assert.ok(page.lines.length >= 1 && page.lines.length <= size.lines);
          for (const line of page.lines) assert.ok(line.trim() && cells(line) <= size.columns);
          assert.equal(page.cells, page.lines.reduce((sum, line) => sum + cells(line), page.lines.length - 1));
        }
      }),
    );
  });
  test("nothing is lost or added but spaces, up to the longest", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const whole = clean(text);
        if (cells(whole) > CAPTION_CELLS) return;
        assert.equal(lines(text).flat().join("").replaceAll(" ", ""), whole.replaceAll(" ", ""));
      }),
    );
  });
  test("clean is clean", () => {
    fc.assert(fc.property(texts, (text) => assert.equal(clean(clean(text)), clean(text))));
  });
});
