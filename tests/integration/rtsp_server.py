"""A real RTSP server for the tests. Run it with the system's Python, which carries GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py --port 8554 --mount /cam [--clip FILE] [--width 320 --height 240 --fps 15]
        [--user NAME --password WORD]

It prints ``ready PORT`` on stdout once it listens. Without a clip it serves a moving test picture that never ends;
a clip is played once for each client and then the server ends the stream.
"""

from __future__ import annotations

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions are chosen first


def pipeline(options: argparse.Namespace) -> str:
    """The GStreamer launch line of the one stream that is served."""
    caps = f"video/x-raw,width={options.width},height={options.height},framerate={options.fps}/1"
    if options.clip:
        picture = f'filesrc location="{options.clip}" ! decodebin ! videoconvert ! videoscale ! videorate ! {caps}'
    else:
        picture = f"videotestsrc is-live=true pattern=ball ! {caps}"
    encode = f"x264enc tune=zerolatency speed-preset=ultrafast key-int-max={options.fps} threads=1"
    return f"( {picture} ! {encode} ! rtph264pay name=pay0 pt=96 config-interval=1 )"


def protect(server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, word: str) -> None:
    """Ask for a user name and a password (basic authentication)."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, word), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(user, "media.factory.access", True)
    permissions.add_permission_for_role(user, "media.factory.construct", True)
    factory.set_permissions(permissions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="0")
    parser.add_argument("--mount", default="/cam")
    parser.add_argument("--clip", default="")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(options))
    factory.set_shared(not options.clip)
    if options.user:
        protect(server, factory, options.user, options.password)
    server.get_mount_points().add_factory(options.mount, factory)
    if not server.attach(None):
        sys.exit(f"port {options.port} cannot be had")
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
