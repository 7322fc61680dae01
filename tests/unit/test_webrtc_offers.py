"""What clients say of themselves is read before aiortc sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.webrtc.offers import Unmet, checked_offer, fragment

OFFER = "\r\n".join(
    (
        "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901",
        "a=fingerprint:sha-256 00", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=sendonly", "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:1 1 udp 2113937151 5f2a-6.local 50000 typ host", "a=candidate:2 1 udp 9 192.0.2.1 5000 typ host",
        "a=sendonly", "a=end-of-candidates", "",
    )
)  # fmt: skip


def test_an_offer_is_passed_on_without_names_of_multicast_dns() -> None:
    text, ufrag = checked_offer(OFFER, sends=True)
    assert ufrag == "abcd" and ".local" not in text and "192.0.2.1" in text
    assert "end-of-candidates" not in text, "who is hidden is found as the checks come in"
    assert checked_offer(OFFER.replace("\r\n", "\n"), sends=True) == (text, ufrag)


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        ("v=0", "w=0", ValueError),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:a!", ValueError),
        ("a=fingerprint", "a=print", ValueError),
        ("s=-", "s=\0", ValueError),
        ("t=0 0", "\r\n".join(["m=video 9 RTP 96"] * 8), ValueError),
        ("t=0 0", "\r\n".join(["a=candidate:1 1 udp 1 192.0.2.1 1 typ host"] * 65), ValueError),
        ("m=video", "m=text", Unmet),
        ("a=sendonly\r\n", "a=recvonly\r\n", Unmet),
    ],
)
def test_what_is_no_offer_to_publish_is_refused(was: str, now: str, kind: type[ValueError]) -> None:
    with pytest.raises(ValueError) as caught:
        checked_offer(OFFER.replace(was, now), sends=True)
    assert type(caught.value) is kind


def test_who_watches_does_not_send() -> None:
    with pytest.raises(Unmet):
        checked_offer(OFFER, sends=False)
    assert checked_offer(OFFER.replace("sendonly", "recvonly"), sends=False)


def test_a_fragment_is_taken_apart() -> None:
    more = fragment(
        "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=video 9 RTP 0\r\na=mid:v\r\n"
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=candidate:1 1 udp 1 x.local 1 typ host\r\n"
        "a=end-of-candidates\r\n"
    )
    assert more.ufrag == "abcd"
    assert more.candidates == (("v", "candidate:1 1 udp 1 192.0.2.1 1 typ host"),)


@given(st.text(max_size=200))
def test_nonsense_raises_nothing_else(text: str) -> None:
    for read in (fragment, lambda each: checked_offer(each, sends=True)):
        try:
            read(text)
        except ValueError:
            continue
