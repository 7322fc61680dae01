"""Opening a container: which options each sort of address needs, and which of its streams is the picture."""

from __future__ import annotations

import sys
import time
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from streamcap.errors import NoVideo, SourceError, SourceUnreadable, UsageError
from streamcap.sources.address import Address, Kind, flag
from streamcap.sources.av_errors import check_file, explain
from streamcap.sources.device import check_device
from streamcap.sources.nvdec import REFUSALS, GpuRefused
from streamcap.sources.srt import SrtReader
from streamcap.sources.tls import tls_options

__all__ = ["libav_options", "longest_silence", "open_container", "pick_video"]

# A title in an unknown encoding is no reason to fail; PyAV 19 sees it so, too, and has no such argument any more.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
# "tty" takes any text file for a film drawn in letters.
_NOT_VIDEO = frozenset({"tty"})
# Segments of HLS come whole, so there is nothing for as long as one lasts: ten seconds in old servers, and then late.
_SEGMENT_WAIT = 3.0
_UDP_BUFFER = str(4 << 20)  # bytes of the socket: a key frame of 4K video arrives at once; the kernel may give less


def open_container(
    address: Address,
    *,
    open_timeout: float,
    read_timeout: float,
    reader: SrtReader | None = None,
    hwaccel: HWAccel | None = None,
) -> InputContainer:
    """Open what an address names.

    Args:
        reader: where an ``srt`` address is read from, whose timeouts are its own.
        hwaccel: what is to decode; None for the processor. It is used while the container is open.

    libav's own log stays silent, which is PyAV's default: it may quote addresses with their passwords, and with
    frame threads it can wait for the interpreter lock of a thread that waits for libav.

    Raises:
        GpuRefused: the GPU, and not the address, may be what does not open.
        SourceError: one of the named ones, with a hint.
    """
    name: str | SrtReader = address.target
    form = None
    if address.kind is Kind.FILE:
        check_file(address)
        name = f"file:{address.target}"  # else a colon in the name would make a protocol of what is before it
    elif address.kind is Kind.DEVICE:
        if not sys.platform.startswith("linux"):
            raise UsageError("cameras by device: work on Linux only", hint="use the camera's rtsp address")
        check_device(address)
        form = "v4l2"
    elif reader is not None:
        name, form = reader, "mpegts"
    begun = time.monotonic()
    try:
        container: InputContainer = av.open(
            name,
            "r",
            format=form,
            options=libav_options(address, read_timeout),
            timeout=(open_timeout, longest_silence(address, read_timeout)),
            hwaccel=hwaccel,
            **_LENIENT,
        )
    except (av.FFmpegError, OSError, ValueError) as exc:
        if hwaccel is not None and isinstance(exc, REFUSALS):
            raise GpuRefused(str(exc)) from exc
        # libav's own, of each step of opening, may be over before ours is.
        limit = open_timeout if address.waits else min(open_timeout, read_timeout)
        raise explain(exc, address, waited=time.monotonic() - begun, timeout=limit) from None
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise SourceUnreadable(f"{address.shown} is not a media file that can be read", hint="is it a video?")
    return container


def pick_video(container: InputContainer, address: Address, max_side: int) -> VideoStream:
    """The stream to watch; all others are left unread.

    Where there are several (HLS in many qualities) it is the smallest that fills ``max_side``, else the largest.

    Raises:
        NoVideo: there is none.
        SourceError: its codec is unknown.
    """
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        if container.streams.audio:
            raise NoVideo(f"{address.shown} is audio only: it holds no video", hint="give a source with pictures")
        raise NoVideo(f"{address.shown} holds no video", hint="give a source with pictures")
    readable = [s for s in videos if s.codec_context is not None]
    if not readable:
        raise _no_decoder(address)
    enough = [s for s in readable if max(s.width, s.height) >= max_side]
    chosen = min(enough, key=_area) if enough else max(readable, key=_area)
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    return chosen


def _area(stream: VideoStream) -> int:
    return stream.width * stream.height


def _no_decoder(address: Address) -> SourceError:
    return SourceUnreadable(f"{address.shown}: no decoder for this sort of video", hint="convert it to H.264")


def longest_silence(address: Address, read_timeout: float) -> float:
    """Seconds for which nothing may come of a live source before it is lost."""
    playlist = address.scheme in {"http", "https"} and "m3u8" in address.target.lower()
    return _SEGMENT_WAIT * read_timeout if playlist else read_timeout


def libav_options(address: Address, read_timeout: float) -> dict[str, str]:
    """What libav has to be told to open an address and to notice within ``read_timeout`` seconds that it is lost."""
    if address.kind is Kind.DEVICE:
        names = {"size": "video_size", "fps": "framerate", "format": "input_format"}
        return {names[key]: value for key, value in address.query.items()}
    if address.kind is not Kind.NETWORK:
        return {}
    micros = str(int(read_timeout * 1e6))
    # Measuring the rate of a network stream would hold the first picture back until some thirty more have come.
    options = {"fpsprobesize": "0"} | tls_options(address)
    if not address.waits:  # a sender may come at any time; that it fell silent the interrupt notices (open_container)
        options["rw_timeout"] = micros
    if address.scheme in {"rtsp", "rtsps"}:
        options |= {"timeout": micros, "allowed_media_types": "video"} | _transport(address.query.get("transport"))
    elif address.scheme in {"http", "https"}:
        options |= {"reconnect": "1", "reconnect_delay_max": "2"}
    elif address.scheme == "udp":
        options |= {"overrun_nonfatal": "1", "buffer_size": _UDP_BUFFER}
    elif address.scheme in {"rtmp", "rtmps"}:
        # FLV says late which streams it holds: libav would look for sound for a minute and a half.
        options |= {"rtmp_live": "live", "analyzeduration": "2000000"}
        if flag(address.query.get("listen", "0"), "listen"):
            options["listen"] = "1"
    return options


def _transport(wanted: str | None) -> dict[str, str]:
    """TCP loses no packets and passes firewalls; a server that cannot (461) is asked for UDP on the same connection."""
    if wanted == "udp":
        return {"rtsp_transport": "udp", "buffer_size": _UDP_BUFFER}
    return {"rtsp_transport": "tcp"} if wanted == "tcp" else {"rtsp_flags": "prefer_tcp", "buffer_size": _UDP_BUFFER}
