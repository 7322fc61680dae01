"""Decoding on NVIDIA's video engine (NVDEC) by libav; pictures that are looked at come to the processor's memory.

A decoded picture stays in the GPU's memory, as a copy that does not hold up the decoder; making an image of it brings
it over as NV12. Of 30 pictures a second 5 are looked at: the others never leave the GPU. What a GPU cannot do (a codec,
a profile, one session more) libav does on the processor.
"""

from __future__ import annotations

import functools
import logging

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

__all__ = ["REFUSALS", "GpuRefused", "nvdec", "trouble"]

_log = logging.getLogger(__name__)

# How libav says that it gets no device: no driver, none that it may use, no memory left on it.
REFUSALS = (av.error.PermissionError, av.error.ExternalError, av.error.MemoryError, av.error.UnknownError)


class GpuRefused(Exception):
    """A container cannot be opened with a decoder on the GPU; without one it may."""


@functools.cache
def trouble() -> str:
    """Why nothing can be decoded on a GPU here; empty where it can. Asks the driver once a process."""
    if "cuda" not in hwdevices_available():
        return "this build of FFmpeg knows no CUDA"
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
        return f"FFmpeg gets no CUDA device ({error})"
    return ""


def nvdec() -> HWAccel | None:
    """What a container is opened with to decode on the GPU; None, and a line in the log, where there is none."""
    if reason := trouble():
        _log.warning("video is decoded on the processor: %s", reason)
        return None
    # PyAV would share CUDA's primary context for pictures that stay, which libav refuses where a network has made it
    # before (with other scheduling flags). Nothing here reads them on the device: a context of its own will do.
    return HWAccel("cuda", allow_software_fallback=True, is_hw_owned=True, options={"primary_ctx": "0"})
