"""Cameras of this machine (V4L2): what is wrong with a device, put into words that a person can act on."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Final

from streamcap.errors import SourceError, SourceNotFound, SourceUnreadable
from streamcap.sources.address import Address

__all__ = ["check_device", "explain_device"]

_WHERE: Final = "ls /dev/video* shows those that are there; a container has only those that it is given (--device)"
_NO_CAMERA: Final = "v4l2-ctl --list-devices names cameras; a file is written without device:"
# What opening it and asking it for pictures fails with; all else is told in the system's own words.
_FAULTS: Final = {
    errno.ENOENT: ("no such device", _WHERE),
    errno.ENXIO: ("no such device", _WHERE),
    errno.ENODEV: ("it gives no pictures", "it may be the camera's device for something else: take its first number"),
    errno.ENOTTY: ("it is no camera", _NO_CAMERA),
    errno.EACCES: ("permission denied", "join the group video, or give the service that group"),
    errno.EPERM: ("permission denied", "join the group video, or give the service that group"),
    errno.EBUSY: ("another program uses it", "end that program (fuser names it), or take its stream instead"),
    errno.EINVAL: (
        "it has no such picture size, rate or format",
        "v4l2-ctl --list-formats-ext lists what it has; leave size=, fps= and format= out for its own",
    ),
}


def check_device(address: Address) -> None:
    """See that a path names a device, before libav is asked: a pipe would hold the thread, a file says little.

    Raises:
        SourceNotFound: there is nothing.
        SourceUnreadable: it is no device.
    """
    try:
        mode = Path(address.target).stat().st_mode
    except OSError as error:
        raise explain_device(error, address) from None
    if not stat.S_ISCHR(mode):
        raise _fault(address, errno.ENOTTY)


def explain_device(error: Exception, address: Address) -> SourceError:
    """The error to raise for one that libav or the system has with a device in opening it."""
    number = getattr(error, "errno", None)
    if number in _FAULTS:
        return _fault(address, number)
    words = getattr(error, "strerror", "") or type(error).__name__
    return SourceUnreadable(f"{address.shown} cannot be read: {words}", hint="is it plugged in, and a camera?")


def _fault(address: Address, number: int) -> SourceError:
    what, hint = _FAULTS[number]
    kind = SourceNotFound if number in (errno.ENOENT, errno.ENXIO) else SourceUnreadable
    return kind(f"{address.shown}: {what}", hint=hint)
