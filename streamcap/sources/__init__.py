"""Video sources: files, network streams, cameras and the rendered test scene, all behind one :class:`Source`.

async with open_source("rtsp://camera/stream", SourceOptions(stream="door")) as source:
    async for frame in source.frames(): ...
"""

from pathlib import Path

from streamcap.sources.address import Kind, parse, redact
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.shared import FrameSource, SharedSources

__all__ = ["FrameSource", "Kind", "SharedSources", "Source", "SourceOptions", "check", "open_source", "parse", "redact"]


def check(uri: str) -> None:
    """See what can be seen of a source without opening it: before models are loaded, or their weights fetched.

    Raises:
        UsageError: the string names no kind of source that is known.
        SourceError: a file that is not there, empty, or may not be read.
    """
    address = parse(uri)
    if address.kind is Kind.FILE:
        if Path(address.target).is_dir():
            from streamcap.sources.folder import videos

            videos(address)
            return
        from streamcap.sources.av_errors import check_file  # late: PyAV is not needed for anything else

        check_file(address)


def open_source(uri: str, options: SourceOptions) -> Source:
    """The source that a SOURCE string names; made, not opened: nothing is read or connected to.

    Raises:
        UsageError: the string names no kind of source that is known, or an option that it does not have.
    """
    address = parse(uri)
    if address.kind is Kind.TEST:
        from streamcap.sources.rendered import RenderedSource

        return RenderedSource(address, options)
    if address.kind is Kind.PUSH:
        from streamcap.sources.push_source import PushSource

        return PushSource(address, options)
    if address.kind is Kind.FILE and Path(address.target).is_dir():
        from streamcap.sources.folder import FolderSource

        return FolderSource(address, options)
    from streamcap.sources.av_source import AvSource  # late: PyAV is not needed for anything else

    return AvSource(address, options)
