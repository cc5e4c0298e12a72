"""A line for every request and every error: when, how long, how it ended; never what was in it."""

import json
import sys
import time
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.server.counters import COUNTERS, Counters
from nonlocal_lens.app.uploads import NoRoomError

HEADER = "x-request-id"
KINDS = ("_stcore/stream", "_stcore/upload_file", "_stcore/health", "media", "static", "healthz")
"""What paths begin with that are told apart; the rest of a path may name what somebody brought."""


def kind_of(path: str) -> str:
    """Return what a path asks for, without anything that a user named."""
    path = path.strip("/")
    return next((kind for kind in KINDS if f"{path}/".startswith(f"{kind}/")), "page")


def write_line(**facts: Any) -> None:
    """Write a line of JSON on stderr."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.write(json.dumps({"time": when, **facts}) + "\n")
    sys.stderr.flush()


class RequestLog:
    """Counts requests, gives each a number of its own, and writes a line for it if asked to.

    Args:
        app: What answers.
        counters: Where they are counted.
        as_json: Whether lines are written.
    """

    def __init__(self, app: ASGIApp, counters: Counters, as_json: bool) -> None:
        self._app, self._counters, self._as_json = app, counters, as_json

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and note how that went."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        number, began, status = uuid.uuid4().hex[:16], time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = number
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        kind = kind_of(scope["path"])
        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.monotonic() - began
            self._counters.add("requests", kind=kind, status=str(status))
            if status != 101:  # a tab's connection lasts as long as the tab
                self._counters.add("request_seconds", seconds, kind=kind)
            if self._as_json:
                write_line(
                    event="request",
                    request=number,
                    method=scope.get("method", "WEBSOCKET"),
                    kind=kind,
                    status=status,
                    ms=round(1000 * seconds, 1),
                )


def tell_error(error: Exception) -> bool:
    """Tell the user that something is wrong with the app, by a number, and the log what it is.

    Whatever an error says may hold a path of this computer or a name of somebody's file.

    Returns:
        True: Streamlit itself shows nothing of it.
    """
    if isinstance(error, NoRoomError):  # whatever page it was brought to
        st.error(f"This file cannot be used: {literal(str(error))}.")
        return True
    number = uuid.uuid4().hex[:8]
    COUNTERS.add("errors", kind=type(error).__name__)
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-5:]]
    write_line(event="error", error=number, kind=type(error).__name__, where=where)
    st.error(
        f"Something went wrong in the app itself. Whoever runs it finds it in the log as {number}.",
        icon=":material/error:",
    )
    return True
