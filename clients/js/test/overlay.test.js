// The options of /overlay/STREAM.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import fc from "fast-check";

import { KINDS, parseOptions } from "../../web/overlay/options.js";

/** @param {string} query @param {(colour: string) => boolean} [isColour] */
const parse = (query, isColour) => parseOptions(new URLSearchParams(query), isColour);

describe("options", () => {
  test("without any", () => {
    const { options, warnings } = parse("");
    assert.deepEqual(warnings, []);
    assert.deepEqual(
      { ...options, kinds: options.kinds.join() },
      { style: "lower-third", edge: "bottom", align: "left", size: 5, font: "", colour: "", background: "", lines: 2, columns: 42,
        cps: 17, drafts: false, kinds: "full,diff,commentary", minSaliency: 0, hold: 7, fade: 160, safe: 5, lang: "en", preview: false },
    );
  });
  test("all of them", () => {
    const { options, warnings } = parse(
      "style=band&position=top-right&size=6.5&font=Gill Sans&colour=ffcc00&background=rgb(0 0 0 / 50%)&lines=1&columns=37&cps=12" +
        "&drafts=1&kinds=diff,summary&min-saliency=0.4&hold=10&fade=0&safe=3.5&lang=pt-br&preview=1",
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(options, {
      style: "band", edge: "top", align: "right", size: 6.5, font: "Gill Sans", colour: "#ffcc00", background: "rgb(0 0 0 / 50%)", lines: 1,
      columns: 37, cps: 12, drafts: true, kinds: ["diff", "summary"], minSaliency: 0.4, hold: 10, fade: 0, safe: 3.5, lang: "pt-BR", preview: true,
    });
  });
  for (const query of [
    "style=fancy", "position=middle", "position=top-left-right", "size=99", "size=-1", "size=1e9", "size=5px", "font=\"; } body { x", "font=url(x)",
    "colour=url(x)", "colour=expression(1)", "background=#12", "lines=4", "lines=1.5", "lines=", "columns=80", "cps=18", "cps=0", "drafts=yes",
    "kinds=all", "kinds=", "min-saliency=2", "hold=0", "hold=NaN", "fade=99999", "safe=50", "lang=x", "preview=2", "stlye=band", "token=sc_secret",
  ]) {
    test(`${query}: its default, and a warning`, () => {
      const { options, warnings } = parse(query);
      assert.deepEqual(options, parse("").options);
      assert.equal(warnings.length, 1);
      assert.ok(!warnings[0]?.includes("sc_secret"));
    });
  }
  test("a colour in the right form that CSS does not know", () => {
    const { options, warnings } = parse("colour=blurple", () => false);
    assert.deepEqual([options.colour, warnings.length], ["", 1]);
  });
  test("lower thirds stand left, the others in the middle", () => {
    assert.equal(parse("style=plain").options.align, "centre");
    assert.equal(parse("style=band&position=top").options.align, "centre");
    assert.equal(parse("position=top").options.align, "left");
  });
  test("of any query, the options hold", () => {
    const names = fc.constantFrom("style", "position", "size", "font", "colour", "background", "lines", "cps", "kinds", "hold", "fade", "safe", "lang", "token", "x");
    fc.assert(
      fc.property(fc.array(fc.tuple(names, fc.string({ unit: "binary", maxLength: 20 }))), (pairs) => {
        const { options } = parseOptions(new URLSearchParams(pairs));
        assert.ok(options.size >= 2 && options.size <= 12 && options.cps >= 5 && options.cps <= 17 && [1, 2, 3].includes(options.lines));
        assert.ok(options.kinds.every((kind) => KINDS.includes(kind)));
        assert.ok(!/[;{}"\\]/.test(options.font + options.colour + options.background));
      }),
    );
  });
});
