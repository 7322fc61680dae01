/** Captions as subtitles: broken into pages, and each page on air for as long as it takes to read. Without a DOM. */
export { COLUMNS, LINES, paginate } from "./pages.js";
export { CPS, HOLD_S, OLD_S, Playout, SHORTEST_S, STALE_S, WAITING_MAX } from "./playout.js";
export { cells, clean, direction, graphemes } from "./text.js";

/**
 * @typedef {import("./pages.js").Page} Page
 * @typedef {import("./playout.js").Item} Item
 * @typedef {import("./playout.js").OnAir} OnAir
 */
