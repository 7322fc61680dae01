"""The obvious program for many viewers, to compare with: aiortc's relay, which encodes for each of them.

Plays a file in a loop and answers offers at ``/whep``. Prints its address as one line.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRelay
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def naive(clip: Annotated[Path, typer.Argument(help="Video file, played in a loop in real time.")]) -> None:
    """Send a video to whoever asks for it."""
    peers: list[RTCPeerConnection] = []
    relay = MediaRelay()
    video: list[MediaStreamTrack] = []

    async def whep(request: Request) -> Response:
        if not video:
            track = MediaPlayer(str(clip), loop=True).video
            assert track is not None
            video.append(track)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.append(peer)
        await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
        peer.addTrack(relay.subscribe(video[0]))
        await peer.setLocalDescription(await peer.createAnswer())
        return Response(peer.localDescription.sdp, 201, media_type="application/sdp")

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        for peer in peers:
            await peer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = Starlette(routes=[Route("/whep", whep, methods=["POST"])], lifespan=life)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run([listener])


if __name__ == "__main__":
    typer.run(naive)
