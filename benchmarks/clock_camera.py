"""A camera with a clock, for the benchmark of latency: an RTSP server that serves raw pictures from its standard input.

    /usr/bin/python3 clock_camera.py --width 640 --height 360 --fps 15

Run by the system's Python, which carries GStreamer's bindings. Prints ``ready PORT``; pictures are RGB, whole, one
after the other. The newest picture is encoded as soon as it is there; without a client it is thrown away.
"""

from __future__ import annotations

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions are chosen first


class Pictures:
    """Hands what comes in to the encoders of those who watch."""

    def __init__(self) -> None:
        self._sinks: list[Gst.Element] = []
        self._lock = threading.Lock()

    def configure(self, _: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        """Begin to feed a new client's encoder."""
        with self._lock:
            self._sinks.append(media.get_element().get_by_name("pictures"))

    def run(self, size: int) -> None:
        """Read pictures of so many bytes until there are no more; then end the process."""
        while len(data := sys.stdin.buffer.read(size)) == size:
            with self._lock:
                self._sinks = [
                    sink for sink in self._sinks
                    if sink.emit("push-buffer", Gst.Buffer.new_wrapped(data)) == Gst.FlowReturn.OK
                ]  # fmt: skip
        GLib.idle_add(sys.exit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=15)
    options = parser.parse_args()
    Gst.init(None)
    caps = f"video/x-raw,format=RGB,width={options.width},height={options.height},framerate={options.fps}/1"
    server, factory, pictures = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory(), Pictures()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory.set_launch(
        f"( appsrc name=pictures is-live=true format=time do-timestamp=true max-bytes=0 caps={caps} ! videoconvert ! "
        f"x264enc threads=1 tune=zerolatency speed-preset=veryfast key-int-max={2 * options.fps} ! "
        "rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    factory.set_shared(True)
    factory.connect("media-configure", pictures.configure)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit("no port can be had")
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    size = options.width * options.height * 3
    threading.Thread(target=pictures.run, args=(size,), daemon=True).start()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
