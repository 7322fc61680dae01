"""https and wss: a certificate made for the test, clients that check it, and what cannot be served."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from streamcap.config import LimitSettings, SecuritySettings, parse_settings
from streamcap.errors import ConfigError
from streamcap.server import serve
from tests.feeding import event, opened, receive, serving
from tests.integration.test_server_limits import APP
from tests.patience import LONG_S, PATIENCE_S, SOON_S

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="no openssl to make a certificate with")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return certificate(folder, "ours")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    assert OPENSSL is not None
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *(OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
        timeout=LONG_S,
    )
    return cert, key


async def test_https_and_wss(pair: tuple[Path, Path]) -> None:
    hub = await opened()
    trust = ssl.create_default_context(cafile=str(pair[0]))
    async with serving(hub, tls=pair) as where:
        assert where.url.startswith("wss://") and where.secure
        async with connect(f"{where.url}/v1/captions", ssl=trust, compression=None, proxy=None) as connection:
            await receive(connection, 2)
            await hub.publish("cam", event(1))
            await receive(connection, 1)
        async with httpx.AsyncClient(verify=trust, trust_env=False) as http:
            answer = await http.get(where.url.replace("wss", "https") + "/")
            assert answer.status_code == 200 and "<title>streamcap" in answer.text
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"{where.url}/v1/captions", ssl=ssl.create_default_context(), proxy=None):
                pass
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(where.url.replace("wss", "http") + "/healthz")


async def test_a_handshake_that_never_becomes_whole(pair: tuple[Path, Path]) -> None:
    hub = await opened()
    security = SecuritySettings(limits=LimitSettings(tls_timeout_s=0.4))
    async with serving(hub, tls=pair, security=security) as where:
        reader, writer = await asyncio.open_connection(where.host, where.port)
        begun = time.monotonic()
        writer.write(b"\x16\x03\x01")
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        assert 0.2 < time.monotonic() - begun < SOON_S
        writer.close()


async def test_what_cannot_be_served(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    text = tmp_path / "text.pem"
    text.write_text("hello", encoding="utf-8")
    for cert, key in (
        (pair[0], other[1]),
        (text, pair[1]),
        (pair[0], text),
        (pair[0], tmp_path / "no"),
        (tmp_path, pair[1]),
    ):
        with pytest.raises(ConfigError) as refusal:
            await serve(APP, port=0, tls=(cert, key))
        assert "\n" not in str(refusal.value) and refusal.value.hint
    with pytest.raises(ConfigError, match="go together"):
        parse_settings({"security": {"tls_cert": str(pair[0])}}, "options")
