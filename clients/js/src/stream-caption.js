/** Defines `<stream-caption>` for the page that loads this module. */
import { StreamCaption } from "./element.js";

if (customElements.get("stream-caption") === undefined) customElements.define("stream-caption", StreamCaption);

export { StreamCaption };
