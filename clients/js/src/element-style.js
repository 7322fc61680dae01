// The looks of <stream-caption>: custom properties and parts change them from outside.

const CSS = `
:host {
  display: block;
  font: var(--stream-caption-font, 500 1rem/1.4 system-ui, sans-serif);
  color: var(--stream-caption-colour, #fff);
}
:host([hidden]) { display: none; }
.box {
  padding: var(--stream-caption-padding, 0.6em 0.8em);
  border-radius: var(--stream-caption-radius, 0.4em);
  background: var(--stream-caption-background, #14181d);
}
.captions { display: grid; gap: var(--stream-caption-gap, 0.4em); }
.captions.fixed {
  display: flex;
  flex-direction: column;
  block-size: calc(var(--lines) * 1lh);
  overflow-y: auto;
  overscroll-behavior: contain;
  scrollbar-width: thin;
}
.captions.fixed > :first-child { margin-block-start: auto; }
.captions:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
p { margin: 0; overflow-wrap: anywhere; text-wrap: pretty; }
.past { color: var(--stream-caption-past, #b9c2cc); }
.draft { font-style: italic; color: var(--stream-caption-draft, #d5dbe2); }
.status { font-size: 0.875em; color: var(--stream-caption-past, #b9c2cc); }
.status:empty { display: none; }
.announcer {
  position: absolute;
  inline-size: 1px;
  block-size: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
`;

/** @type {CSSStyleSheet | undefined} */
let shared;

/** One sheet for all elements of the page; no policy for styles stands in its way. */
export function sheet() {
  if (shared === undefined) {
    shared = new CSSStyleSheet();
    shared.replaceSync(CSS);
  }
  return shared;
}
