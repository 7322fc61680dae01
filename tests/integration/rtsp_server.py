"""A real RTSP server for the tests. Run it with the system's Python, which carries GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py --port 8554 --mount /cam [--clip FILE] [--width 320 --height 240 --fps 15]
        [--codec h264|h265|mjpeg] [--loss 0.1] [--keys 15] [--b-frames] [--pattern ball] [--only tcp|udp]
        [--user NAME --password WORD [--login basic|digest]] [--tls CERTIFICATE_AND_KEY.pem]

It prints ``ready PORT`` on stdout once it listens. Without a clip it serves a moving test picture that never ends;
a clip is played once for each client and then the server ends the stream.
"""

from __future__ import annotations

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - the versions are chosen first

QUICK = "tune=zerolatency speed-preset=ultrafast key-int-max="
ENCODERS = {
    "h264": "x264enc threads=1 {quick} ! identity drop-probability={loss} ! rtph264pay config-interval=1",
    "h265": "x265enc {quick} ! rtph265pay config-interval=1",
    "mjpeg": "videoconvert ! video/x-raw,format=I420 ! jpegenc ! rtpjpegpay pt=26",
}


def pipeline(options: argparse.Namespace) -> str:
    """The GStreamer launch line of the one stream that is served."""
    caps = f"video/x-raw,width={options.width},height={options.height},framerate={options.fps}/1"
    if options.clip:
        picture = f'filesrc location="{options.clip}" ! decodebin ! videoconvert ! videoscale ! videorate ! {caps}'
    else:
        picture = f"videotestsrc is-live=true pattern={options.pattern} ! {caps}"
    quick = "bframes=2 b-adapt=false speed-preset=veryfast key-int-max={}" if options.b_frames else QUICK + "{}"
    if options.b_frames:
        quick += " ! video/x-h264,profile=main"
    encoder = ENCODERS[options.codec].format(quick=quick.format(options.keys or options.fps), loss=options.loss)
    return f"( {picture} ! {encoder} name=pay0 )"


def protect(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, options: argparse.Namespace
) -> None:
    """Speak TLS, and ask for a user name and a password, whichever is wanted."""
    auth = GstRtspServer.RTSPAuth()
    if options.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.tls))
    role = options.user or "anonymous"
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    if options.user and options.login == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    elif options.user:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, options.password), token)
    else:
        auth.set_default_token(token)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(role, "media.factory.access", True)
    permissions.add_permission_for_role(role, "media.factory.construct", True)
    factory.set_permissions(permissions)
    server.set_auth(auth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="0")
    parser.add_argument("--mount", default="/cam")
    parser.add_argument("--clip", default="")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--pattern", default="ball")
    parser.add_argument("--loss", type=float, default=0.0, help="Share of the H.264 pictures that get lost, 0..1.")
    parser.add_argument("--keys", type=int, default=0, help="Pictures from one key frame to the next; 0: one a second.")
    parser.add_argument("--b-frames", action="store_true")
    parser.add_argument("--only", choices=("tcp", "udp"), default="")
    parser.add_argument("--tls", default="")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--login", choices=("basic", "digest"), default="basic", help="How the password is asked for.")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(options))
    factory.set_shared(not options.clip)
    if options.only:
        one = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}[options.only]
        factory.set_protocols(one)
    if options.user or options.tls:
        protect(server, factory, options)
    server.get_mount_points().add_factory(options.mount, factory)
    if not server.attach(None):
        sys.exit(f"port {options.port} cannot be had")
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
