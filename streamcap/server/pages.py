"""Pages for people: the files of ``clients/web``, and the client of ``clients/js`` that they use.

Everything is read once at the start, so that no request reaches the disk and no address can name another file. Pages
hold nothing of any stream: who may see one the routes decide that a page asks, so pages themselves are open to all.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import streamcap

__all__ = ["PAGES", "POLICY", "Page", "Pages"]

# Scripts, styles and pictures of this server alone, nothing inline; with trusted types no text can become HTML.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-cache",  # asked for again each time, and answered 304
    "vary": "accept-encoding",
}
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOLDERS: Final = ("web", "js/src", "js/examples")  # below clients/; the page imports the client by its relative path


@dataclass(frozen=True, slots=True)
class Page:
    """A page: which file, and what it may load."""

    file: str
    policy: str = POLICY


PAGES: Final[Mapping[str, Page]] = {
    "/": Page("web/index.html"),
    "/overlay/{stream}": Page("web/overlay/index.html"),
    # Also from the folder alone: a page of another server (see its comment).
    "/app/js/examples/stream-caption.html": Page("js/examples/stream-caption.html"),
}


@dataclass(frozen=True, slots=True)
class _Asset:
    plain: bytes
    packed: bytes
    media_type: str
    etag: str


class Pages:
    """The files, by their path below ``clients/``.

    Args:
        folder: ``clients``; None for the one that was installed, or the checkout's.

    Raises:
        FileNotFoundError: a page's file is not there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or _clients()
        self._assets = {path.relative_to(folder).as_posix(): _read(path) for path in _files(folder)}
        for page in PAGES.values():
            if page.file not in self._assets:
                raise FileNotFoundError(f"{folder / page.file} is not there: the installation is not whole")

    def routes(self) -> list[Route]:
        """The pages, and ``/app/…`` for what they load."""
        pages = [Route(path, self._page(page), include_in_schema=False) for path, page in PAGES.items()]
        return [*pages, Route("/app/{path:path}", self._asset, include_in_schema=False)]

    @property
    def names(self) -> list[str]:
        """Paths of all files."""
        return sorted(self._assets)

    def _page(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            return _answer(request, self._assets[page.file], {"content-security-policy": page.policy})

        return show

    async def _asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["path"])
        if asset is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such file")
        # Also an asset that is opened as a document runs nothing.
        return _answer(request, asset, {"content-security-policy": "default-src 'none'"})


def _clients() -> Path:
    package = Path(streamcap.__file__).parent
    installed = package / "clients"
    return installed if installed.is_dir() else package.parent / "clients"


def _files(folder: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix in _TYPES and "node_modules" not in path.parts:
                yield path


def _read(path: Path) -> _Asset:
    plain = path.read_bytes()
    etag = hashlib.sha256(plain).hexdigest()[:16]
    return _Asset(plain, gzip.compress(plain, mtime=0), _TYPES[path.suffix], etag)


def _answer(request: Request, asset: _Asset, headers: Mapping[str, str]) -> Response:
    packed = "gzip" in request.headers.get("accept-encoding", "")
    etag = f'"{asset.etag}{"-gzip" if packed else ""}"'
    head = {**_HEADERS, **headers, "etag": etag}
    if etag in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=head)
    if packed:
        head["content-encoding"] = "gzip"
    return Response(asset.packed if packed else asset.plain, headers=head, media_type=asset.media_type)
