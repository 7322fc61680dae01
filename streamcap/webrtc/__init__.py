"""Publishing and watching by WebRTC: peer connections (aiortc) behind the two HTTP protocols, WHIP and WHEP.

aiortc comes with the extra ``webrtc``; nothing here imports it before a peer connects, and ``available`` tells.
"""

from streamcap.webrtc.peers import BadOffer, Begun, PeerGone, Peers, Refused, Restart, Sends, available

__all__ = ["BadOffer", "Begun", "PeerGone", "Peers", "Refused", "Restart", "Sends", "available"]
