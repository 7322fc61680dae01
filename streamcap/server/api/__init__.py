"""The HTTP API: streams, history, search, the feed as server-sent events, live subtitles."""
