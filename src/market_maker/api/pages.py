"""/ and /assets: the live dashboard as built files. Open to all: what they show asks for a key where keys are set."""

from __future__ import annotations

from litestar import Controller, Response, get
from litestar.params import FromPath

from market_maker.api.answers import AnyRequest
from market_maker.dashboard.files import PageFile, asset, start_page
from market_maker.domain.errors import NotFound, Unavailable

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing written into the page itself."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class Pages(Controller):
    """The dashboard."""

    path = "/"
    include_in_schema = False

    @get("/", media_type="text/html")
    async def start(self, request: AnyRequest) -> Response[bytes]:
        """Return the page of the dashboard."""
        page = start_page()
        if page is None:
            raise Unavailable("the dashboard has not been built; run `make setup`, which needs no Node.js of its own")
        return _sent(request, page, _ASK_AGAIN)

    @get("/assets/{name:str}", media_type="text/javascript")
    async def part(self, request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        """Return a script or a style sheet of the page."""
        found = asset(name)
        if found is None:
            raise NotFound(f"the dashboard has no file {name[:80]!r}; load the page anew")
        return _sent(request, found, _FOR_EVER)


def _sent(request: AnyRequest, file: PageFile, keeping: str) -> Response[bytes]:
    """Return a file packed where the browser unpacks it, and nothing where it has it already."""
    headers = {**_HEADERS, "Cache-Control": keeping, "ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = {**headers, "Content-Encoding": "gzip"}
        return Response(file.packed, headers=packed, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)
