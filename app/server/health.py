"""Whether the server is well: what containers and proxies ask."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from nonlocal_lens import __version__


async def health(request: Request) -> JSONResponse:
    """Answer that the server answers."""
    del request
    return JSONResponse({"status": "ok", "version": __version__})
