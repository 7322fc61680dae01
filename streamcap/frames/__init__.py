"""Pictures of a stream to look at: the newest one, and those that its captions point at."""

from streamcap.frames.keeper import FrameKeeper, StreamFrames
from streamcap.frames.store import FrameStore, MemoryFrames, StoredFrame
from streamcap.frames.view import View, ViewPicture

__all__ = ["FrameKeeper", "FrameStore", "MemoryFrames", "StoredFrame", "StreamFrames", "View", "ViewPicture"]
