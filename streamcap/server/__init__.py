"""The feed server: websocket feed, stream list and health on one port."""

from streamcap.server.app import StreamInfo, create_app
from streamcap.server.feed import FeedSettings
from streamcap.server.guard import Guard
from streamcap.server.run import Listening, serve

__all__ = ["FeedSettings", "Guard", "Listening", "StreamInfo", "create_app", "serve"]
