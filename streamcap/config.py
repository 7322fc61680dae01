"""Settings: what a user may choose, with its defaults, from ``streamcap.toml`` and the command line."""

from __future__ import annotations

import ipaddress
import tomllib
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from streamcap.errors import ConfigError

__all__ = [
    "DEFAULT_PORT",
    "Admission",
    "AnswerForm",
    "CaptionerName",
    "Contradiction",
    "Decode",
    "DeviceName",
    "IceServer",
    "JournalSettings",
    "LimitSettings",
    "LoadSettings",
    "Mark",
    "MemoryPictures",
    "ModelSettings",
    "Networks",
    "PrecisionName",
    "Profile",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "SourcePolicy",
    "StreamSettings",
    "VisionBackend",
    "VisionMode",
    "VisionSettings",
    "WebRtcSettings",
    "is_loopback",
    "load_settings",
]

DEFAULT_PORT = 8750
DEFAULT_FPS = 5.0
# Frames analysed a second; the least is one in a hundred seconds, so that what is divided by it stays a number.
Fps = Annotated[float, Field(ge=0.01, le=60)]
Networks = tuple[IPv4Network | IPv6Network, ...]


# What a user asks of a vision–language captioner, in characters at most: a page of text.
UserPrompt = Annotated[str, Field(max_length=4000)]


class Profile(StrEnum):
    """Who reads: a guard wants every salient fact, a viewer what happens just now, a listener less and smoother."""

    SURVEILLANCE = "surveillance"
    COMMENTARY = "commentary"
    GENERAL = "general"


class CaptionerName(StrEnum):
    """Who makes the final text."""

    GROUNDED = "grounded"
    VISION = "vision"


class VisionMode(StrEnum):
    """How a vision–language model is shown what happened (ShareGPT4Video, arXiv:2406.04325)."""

    SLIDING = "sliding"  # the picture before and the picture now: what is different
    GRID = "grid"  # all key frames of the window as one picture: one cheap look
    RECAPTION = "recaption"  # the grounded text and the pictures: the text, in more detail


class Mark(StrEnum):
    """What is drawn on pictures for a vision–language model."""

    SET_OF_MARK = "som"  # numbers and outlines (arXiv:2310.11441)
    BLUR = "blur"  # all but the instances blurred (FGVP, arXiv:2306.04356)
    FRAME_NUMBER = "frame-number"  # NumPro (arXiv:2411.10332)
    HEAT = "heat"  # where to look (attention prompting, arXiv:2409.17143)


class Contradiction(StrEnum):
    """What becomes of a text that contradicts what perception holds to be true."""

    NOTE = "note"  # it is told, scored down, and says which
    VETO = "veto"  # the grounded text stands instead


class AnswerForm(StrEnum):
    """The form in which a vision–language model is asked to answer."""

    JSON = "json"  # an object by a schema
    TEXT = "text"  # plain sentences: for models too small for more


class MemoryPictures(StrEnum):
    """How a vision–language model is shown what was seen long before."""

    KEY = "key"  # one kept frame for each span
    MERGED = "merged"  # the visual tokens of several kept frames of each span, blended (MovieChat, arXiv:2307.16449)


class VisionBackend(StrEnum):
    """Where the vision–language model runs."""

    OPENAI = "openai"  # any server with OpenAI's API
    TRANSFORMERS = "transformers"  # in this process


class _Strict(BaseModel):
    # A misspelt key is an error, not a silent default.
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamSettings(_Strict):
    """One stream.

    Attributes:
        id: what the feed calls it: letters, digits, ``.``, ``_`` and ``-``, at most 64.
        source: file, URL, ``device:``, ``whip:`` or ``test:``.
        fps: pictures analysed a second, at most.
        captioner: name of what makes the final text.
        prompt: what a vision–language captioner is to heed beside its rules; a user's words.
        mode: how it is shown what happened.
        marks: what is drawn on the pictures that it is shown.
        contradictions: what becomes of its text where that contradicts what was perceived.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    source: Annotated[str, Field(min_length=1)]
    fps: Fps = DEFAULT_FPS
    profile: Profile = Profile.SURVEILLANCE
    captioner: CaptionerName = CaptionerName.GROUNDED
    prompt: UserPrompt = ""
    mode: VisionMode = VisionMode.SLIDING
    marks: tuple[Mark, ...] = (Mark.SET_OF_MARK, Mark.FRAME_NUMBER)
    contradictions: Contradiction = Contradiction.NOTE


class ServerSettings(_Strict):
    """Where the feed is served.

    Attributes:
        data: folder of the durable journal; None keeps the journal in memory.
        heartbeat_s: longest silence towards a subscriber.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    data: Path | None = None
    heartbeat_s: Annotated[float, Field(gt=0, le=300)] = 15.0


class JournalSettings(_Strict):
    """What is kept on disk of each stream; the oldest goes first.

    Attributes:
        max_age_days: longest that a message is kept.
        max_messages: most messages.
        max_bytes: most bytes of messages; the file is about half as large again.
        frames_bytes: most bytes of the frames that captions point at, which are kept as long as messages at most.
    """

    max_age_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    max_messages: Annotated[int, Field(ge=1)] = 1_000_000
    max_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    frames_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024


class Admission(StrEnum):
    """What becomes of a stream that is added over the API while the machine cannot keep up."""

    REFUSE = "refuse"
    LOWER = "lower"


class LoadSettings(_Strict):
    """What is done where the machine cannot keep up: all streams are looked at less often, by the same share.

    Attributes:
        floor_fps: pictures analysed a second below which no stream is lowered (one that is to have fewer keeps them);
            what does not fit then is left out, and counted as dropped.
        admission: a stream for which there is no room is refused, or taken all the same and all get less. The streams
            of the settings file and of earlier runs are always taken.
    """

    floor_fps: Fps = 3.0
    admission: Admission = Admission.REFUSE


class DeviceName(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PrecisionName(StrEnum):
    """Which of the graphs of a model is taken."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    FP8 = "fp8"


class Decode(StrEnum):
    """What decodes video."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class ModelSettings(_Strict):
    """Which networks look, and where they run.

    Attributes:
        encoder: ``default``, ``none``, or an exported graph: its folder, ONNX file, or name in the engine cache.
        detector: ``default`` or an exported graph.
        device: of exported graphs; the defaults are quantised for processors and run there. ``auto`` takes a GPU where
            there is one that can; with ``cuda`` it is an error if there is none.
        precision: ``auto`` takes what suits the device best, of the graphs that are there.
        decode: ``cuda`` decodes on NVIDIA's video engine, and on the processor whatever it cannot; ``auto`` does that
            where the encoder or the detector runs on the GPU, too.
    """

    encoder: Annotated[str, Field(min_length=1)] = "default"
    detector: Annotated[str, Field(min_length=1)] = "default"
    device: DeviceName = DeviceName.AUTO
    precision: PrecisionName = PrecisionName.AUTO
    decode: Decode = Decode.AUTO


class LimitSettings(_Strict):
    """What the server bears from its clients.

    Attributes:
        connections: open at a time, in all.
        connections_per_address: of these from one IPv4 address, or one /64 of IPv6.
        requests_per_s, burst: of one address: the rate in the long run, and how many at once.
        exempt_loopback: no limit by address for this machine itself: a reverse proxy brings everybody from there.
        header_bytes, body_bytes: of one request.
        header_timeout_s: for a request's head to arrive whole; also how long a connection may be quiet between two.
        body_timeout_s: for a request's body to arrive whole.
        stall_timeout_s: how long a client of the HTTP API may take nothing of what waits for it.
        tls_timeout_s: for a TLS handshake.
        auth_timeout_s: for the first message of a websocket, where that has to bring the token.
    """

    connections: Annotated[int, Field(ge=1)] = 4000
    connections_per_address: Annotated[int, Field(ge=1)] = 200
    requests_per_s: Annotated[float, Field(gt=0)] = 50.0
    burst: Annotated[int, Field(ge=1)] = 200
    exempt_loopback: bool = True
    header_bytes: Annotated[int, Field(ge=8192, le=1 << 20)] = 16 * 1024
    body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    header_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0, le=300)] = 15.0
    stall_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    tls_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    auth_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class SourcePolicy(_Strict):
    """Which sources may be opened for somebody who is not at this machine: streams that are added over the API.

    Attributes:
        schemes: allowed, of those that ``streamcap.sources`` knows; ``file`` also needs ``media_root``, and cameras of
            this machine (``device``) are never opened.
        media_root: folder of the files that may be opened; None for none at all.
        allow_private: cameras on private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) may be opened.
        networks: further networks that may be, such as ``192.168.7.0/24``; also the only way to loopback and link-local
            addresses. Addresses at which clouds serve credentials stay closed.
    """

    schemes: frozenset[str] = frozenset(
        {"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "file", "test", "whip"}
    )
    media_root: Path | None = None
    allow_private: bool = False
    networks: Networks = ()


class IceServer(_Strict):
    """A STUN or TURN server.

    Attributes:
        url: ``stun:host:port`` or ``turn:host:port?transport=udp``.
        username, credential: for TURN. Publishers and viewers are told them.
    """

    url: Annotated[
        str, Field(pattern=r"^(stun|turn|turns):[A-Za-z0-9.:\[\]-]+(\?transport=(udp|tcp))?$", max_length=200)
    ]
    username: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f]*$', max_length=200)] = ""
    credential: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f]*$', max_length=200)] = ""


class WebRtcSettings(_Strict):
    """Publishing (WHIP) and watching (WHEP) by WebRTC.

    Attributes:
        ice_servers: for this server and, by ``Link`` headers, for its clients; of each sort the first one is used here.
        publishers, viewers: at a time, in all.
    """

    ice_servers: Annotated[tuple[IceServer, ...], Field(max_length=8)] = ()
    publishers: Annotated[int, Field(ge=0, le=1000)] = 64
    viewers: Annotated[int, Field(ge=0, le=1000)] = 32


class VisionSettings(_Strict):
    """The vision–language model that streams with ``captioner = "vision"`` share.

    Attributes:
        backend: where it runs.
        model: name that the server knows, hub id or local folder.
        url: of the server, with its ``/v1``.
        api_key_env: environment variable that holds the key; the key itself stands in no file of settings.
        adapter: hub id or folder of a PEFT adapter; in this process alone.
        tower: folder of an exported vision tower that takes the place of the model's own; in this process alone.
        device: ``auto``, ``cpu``, ``cuda``; in this process alone.
        timeout_s: for one answer.
        retries: of one answer, where a fault may be a passing one.
        concurrency: answers at a time, of all streams.
        max_tokens: most tokens of an answer.
        answers: the form in which it is asked to answer.
        picture_tokens: most visual tokens of a picture, which is made smaller to keep to it; in this process alone.
        memory: how it is shown what was seen long before; ``merged`` in this process alone.
        calls_per_minute, tokens_per_minute: of one stream; of all streams, ``..._in_all``.
    """

    backend: VisionBackend = VisionBackend.OPENAI
    model: str = ""
    url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = "STREAMCAP_VISION_KEY"
    adapter: str = ""
    tower: Path | None = None
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    concurrency: Annotated[int, Field(ge=1, le=256)] = 2
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 256
    answers: AnswerForm = AnswerForm.JSON
    picture_tokens: Annotated[int, Field(ge=16, le=4096)] = 256
    memory: MemoryPictures = MemoryPictures.KEY
    calls_per_minute: Annotated[float, Field(gt=0)] = 20.0
    tokens_per_minute: Annotated[float, Field(gt=0)] = 60_000.0
    calls_per_minute_in_all: Annotated[float, Field(gt=0)] = 120.0
    tokens_per_minute_in_all: Annotated[float, Field(gt=0)] = 400_000.0

    @model_validator(mode="after")
    def _has_a_model(self) -> VisionSettings:
        if self.backend is VisionBackend.TRANSFORMERS and not self.model:
            raise ValueError("model is missing: a hub id or a local folder")
        if self.backend is VisionBackend.OPENAI and self.memory is MemoryPictures.MERGED:
            raise ValueError("memory = merged: a server blends no pictures; backend = transformers does")
        return self


class SecuritySettings(_Strict):
    """Who may use the server, and how much of it. See docs/security.md.

    Attributes:
        tokens: file of bearer tokens; None for ``tokens.json`` in the data folder.
        insecure: serve beyond this machine although nobody needs a token.
        allowed_origins: web origins, as ``https://host``, whose pages may use the server beside its own; ``"*"`` for
            any.
        allowed_hosts: names by which clients may call the server, beside ``localhost`` and addresses; where it listens
            beyond this machine and none is given: any name.
        tls_cert, tls_key: PEM files; both or neither.
        trusted_proxies: networks, such as ``10.0.0.7/32``, of reverse proxies. Whom a request comes from, and whether
            by TLS, is what they say (X-Forwarded-For, X-Forwarded-Proto); who can send from there can be anybody.
        sources: what streams that are added over the API may open.
    """

    tokens: Path | None = None
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: Networks = ()
    limits: LimitSettings = LimitSettings()
    sources: SourcePolicy = SourcePolicy()

    @model_validator(mode="after")
    def _both_or_neither(self) -> SecuritySettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self


class Settings(_Strict):
    """The whole of ``streamcap.toml``."""

    server: ServerSettings = ServerSettings()
    journal: JournalSettings = JournalSettings()
    security: SecuritySettings = SecuritySettings()
    webrtc: WebRtcSettings = WebRtcSettings()
    load: LoadSettings = LoadSettings()
    vision: VisionSettings | None = None
    models: ModelSettings = ModelSettings()
    streams: tuple[StreamSettings, ...] = ()

    @field_validator("streams")
    @classmethod
    def _distinct(cls, streams: tuple[StreamSettings, ...]) -> tuple[StreamSettings, ...]:
        names = [stream.id for stream in streams]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"stream ids must differ: {', '.join(doubled)}")
        return streams

    @model_validator(mode="after")
    def _have_a_model(self) -> Settings:
        wanting = [stream.id for stream in self.streams if stream.captioner is CaptionerName.VISION]
        if wanting and self.vision is None:
            raise ValueError(f'captioner = "vision" of {", ".join(wanting)} needs a [vision] section')
        return self


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        ConfigError: it is not there, not TOML, or holds something that cannot be; the line says where.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such settings file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse_settings(raw, str(path))


def parse_settings(raw: object, origin: str) -> Settings:
    """Check settings that were read from ``origin``.

    Raises:
        ConfigError: something does not hold.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigError(f"{origin}: {where}: {first['msg']}") from error


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach, and for the name ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
