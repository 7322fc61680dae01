"""A subscriber: connects to a feed, yields its messages, comes back after a loss and goes on where it stood.

    async with subscribe("ws://127.0.0.1:8750") as feed:
        async for message in feed:
            print(message)

Needs the base dependencies only.
"""

from streamcap.client.address import feed_url
from streamcap.client.feed import Feed, Gap, subscribe

__all__ = ["Feed", "Gap", "feed_url", "subscribe"]
