"""The hub: publishers hand messages in, every subscriber gets a gapless conversation out."""

from streamcap.hub.asked import SubscribeRefused
from streamcap.hub.core import ALL, Hub, HubCounters
from streamcap.hub.outbox import Closing, OutboxLimits
from streamcap.hub.subscription import Subscription

__all__ = ["ALL", "Closing", "Hub", "HubCounters", "OutboxLimits", "SubscribeRefused", "Subscription"]
