"""Who may ask, and what browsers may do with the answer."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",  # Streamlit's charts compile theirs
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob: ws: wss:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-src": "'self' data: blob:",
    "frame-ancestors": "'self'",
}
"""What a page may load, and who may show it in a frame: nothing and nobody from elsewhere."""

HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def host_of(header: str) -> str:
    """Return the name in a Host header, without its port, in small letters."""
    header = header.strip().lower()
    if header.startswith("["):  # an address of version 6
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


class Guard:
    """Answers only those who call this server by its name, with headers that browsers heed.

    A page elsewhere could otherwise give its own name this server's address, and read what is here.

    Args:
        app: What answers.
        hosts: The names; "*" is any, and "*.example.org" any below one.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or not self.serves(host_of(named[0].decode("latin-1"))):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            refused = PlainTextResponse("This server does not answer to that name.\n", 421, HEADERS)
            await refused(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def serves(self, host: str) -> bool:
        """Return whether a name is one of those that this server answers to."""
        return any(
            name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))
            for name in self._hosts
        )
