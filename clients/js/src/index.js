/** A subscriber to streamcap's caption feed, protocol v1. */
export { ask } from "./ask.js";
export { CaptionClient, FeedEvent, GapEvent, StateEvent, feedUrl } from "./client.js";
export { FeedState, HOLES_KEPT, OPEN_MAX, RECENT_MAX } from "./fold.js";
export { FRAME_MAX_CHARS, PROTOCOL, SUBPROTOCOL, WireError, decode, isDurable } from "./messages.js";

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").CaptionMessage} CaptionMessage
 * @typedef {import("./messages.js").EventMessage} EventMessage
 * @typedef {import("./messages.js").StatusMessage} StatusMessage
 * @typedef {import("./messages.js").GapMessage} GapMessage
 * @typedef {import("./messages.js").SnapshotMessage} SnapshotMessage
 * @typedef {import("./messages.js").InstancesMessage} InstancesMessage
 * @typedef {import("./client.js").ClientOptions} ClientOptions
 * @typedef {import("./ask.js").Answer} Answer
 * @typedef {import("./ask.js").AskOptions} AskOptions
 * @typedef {import("./client.js").Place} Place
 */
