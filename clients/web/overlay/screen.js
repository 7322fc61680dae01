// The overlay's DOM: a block of lines, faded in and out, never wider than the safe area.

/**
 * @typedef {import("../../js/src/subtitles/index.js").OnAir} OnAir
 * @typedef {import("./options.js").Options} Options
 */

/** Shows what is on air. All text goes in as text. */
export class Screen {
  /** @type {HTMLElement} */ #root;
  /** @type {HTMLElement} */ #overlay;
  /** @type {HTMLElement} */ #captions;
  /** @type {HTMLElement | null} */ #note = null;
  #fadeMs;
  #shown = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #clearing;

  /**
   * @param {Document} document
   * @param {Options} options
   */
  constructor(document, options) {
    this.#root = document.documentElement;
    const [overlay, captions] = [document.getElementById("overlay"), document.getElementById("captions")];
    if (overlay === null || captions === null) throw new Error("not the overlay's page");
    this.#overlay = overlay;
    this.#captions = captions;
    this.#fadeMs = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : options.fade;
    this.#root.lang = options.lang;
    this.#root.classList.toggle("preview", options.preview);
    Object.assign(overlay.dataset, { style: options.style, edge: options.edge, align: options.align });
    this.#set("--size", String(options.size));
    this.#set("--safe", String(options.safe));
    this.#set("--fade", `${this.#fadeMs}ms`);
    if (options.colour) this.#set("--colour", options.colour);
    if (options.background) this.#set("--background", options.background);
    if (options.font) this.#set("--font", `"${options.font}", ${getComputedStyle(this.#root).getPropertyValue("--font")}`);
    if (options.preview) {
      this.#note = document.createElement("p");
      this.#note.id = "note";
      overlay.append(this.#note);
    }
    addEventListener("resize", () => this.#fit());
  }

  /** @param {OnAir | null} onAir */
  show(onAir) {
    const key = onAir === null ? "" : [onAir.final, onAir.page.direction, ...onAir.page.lines].join("\n");
    if (key === this.#shown) return;
    this.#shown = key;
    clearTimeout(this.#clearing);
    this.#captions.classList.toggle("on", onAir !== null);
    if (onAir === null) {
      // The text stays while it fades.
      this.#clearing = setTimeout(() => this.#captions.replaceChildren(), this.#fadeMs);
      return;
    }
    this.#captions.dir = onAir.page.direction;
    this.#captions.classList.toggle("draft", !onAir.final);
    this.#captions.replaceChildren(...onAir.page.lines.map((line) => this.#line(line, onAir.page.direction)));
    this.#fit();
  }

  /**
   * For whoever tunes.
   *
   * @param {string} state
   * @param {string[]} warnings
   */
  note(state, warnings) {
    if (this.#note !== null) this.#note.textContent = [state, ...warnings].join("\n");
  }

  /**
   * @param {string} text
   * @param {"ltr" | "rtl"} direction
   */
  #line(text, direction) {
    const line = this.#captions.ownerDocument.createElement("span");
    line.className = "line";
    line.dir = direction;
    const inner = line.ownerDocument.createElement("span");
    inner.textContent = text;
    line.append(inner);
    return line;
  }

  /** A font whose letters are wide, or a narrow frame: smaller letters rather than a line that leaves the safe area. */
  #fit() {
    this.#set("--fit", "1");
    const lines = Array.from(this.#captions.children);
    const widest = Math.max(0, ...lines.map((line) => line.firstElementChild?.getBoundingClientRect().width ?? 0));
    const around = this.#captions.offsetWidth - (lines[0]?.clientWidth ?? 0);
    const [room, wide] = [this.#overlay.clientWidth, widest + around];
    if (wide > room && room > 0) this.#set("--fit", (0.995 * (room / wide)).toFixed(4));
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #set(name, value) {
    this.#root.style.setProperty(name, value);
  }
}
