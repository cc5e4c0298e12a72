"""The app as a server: who is answered, what browsers are told, what is counted and logged."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from starlette.responses import PlainTextResponse

from nonlocal_lens.app.server.counters import Counters, serve_counters
from nonlocal_lens.app.server.guard import HEADERS, POLICY, Guard, host_of
from nonlocal_lens.app.server.log import HEADER, RequestLog, kind_of, tell_error


def ask(app, path="/", headers=(("host", "localhost:8501"),), kind="http"):
    """Return the messages that an app answers a request with."""
    said = []
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    if kind == "websocket":
        del scope["method"]

    async def receive():
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

    async def send(message):
        said.append(message)

    asyncio.run(app(scope, receive, send))
    return said


def headers_of(said):
    return {name.decode(): value.decode() for name, value in said[0]["headers"]}


@pytest.fixture
def guard():
    return Guard(PlainTextResponse("content"), ("localhost", "127.0.0.1", "*.example.org"))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8501", "127.0.0.1:80", "lens.example.org", "a.b.example.org:443"],
)
def test_who_calls_the_server_by_its_name_is_answered(host, guard):
    said = ask(guard, headers=[("host", host)])
    assert said[0]["status"] == 200
    assert said[1]["body"] == b"content"


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "evil.example")],
        [("host", "localhost.evil.example")],
        [("host", "example.org")],
        [("host", "evilexample.org")],
        [("host", "")],
        [],
        [("host", "localhost"), ("host", "evil.example")],
        [("host", "[::1]:8501")],
        [("host", "evil.example"), ("x-forwarded-host", "localhost")],
        [("host", "local\xadhost")],
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_nobody_else_is(kind, headers, guard):
    said = ask(guard, headers=headers, kind=kind)
    if kind == "websocket":
        assert said == [{"type": "websocket.close", "code": 1008}]
    else:
        assert said[0]["status"] == 421
        assert b"content" not in said[1]["body"]


def test_any_name_will_do_where_that_is_said():
    assert ask(Guard(PlainTextResponse("x"), ("*",)), headers=[("host", "any")])[0]["status"] == 200


def test_a_name_is_told_from_its_port():
    assert [host_of(text) for text in ("A.b:1", "[::1]:80", " c ", "d")] == [
        "a.b",
        "[::1]",
        "c",
        "d",
    ]


def test_every_answer_tells_browsers_what_they_may_do(guard):
    for headers in ([("host", "localhost")], [("host", "evil.example")]):
        told = headers_of(ask(guard, headers=headers))
        assert HEADERS.items() <= told.items()
    assert POLICY["frame-ancestors"] == "'self'"
    assert "http" not in HEADERS["content-security-policy"], "nothing is loaded from elsewhere"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "page"),
        ("/compare", "page"),
        ("/_stcore/stream", "_stcore/stream"),
        ("/_stcore/upload_file/session/secret.png", "_stcore/upload_file"),
        ("/mediaeval", "page"),
        ("/media/0123.png", "media"),
    ],
)
def test_what_is_logged_of_a_path_names_nothing_of_a_user(path, kind):
    assert kind_of(path) == kind


def test_a_request_is_one_line_with_a_number_that_the_answer_has_too(capsys):
    counters = Counters()
    app = RequestLog(PlainTextResponse("x", 404), counters, as_json=True)
    said = ask(app, "/media/secret.png")
    line = json.loads(capsys.readouterr().err)
    assert line["request"] == headers_of(said)[HEADER]
    assert (line["kind"], line["status"], line["method"]) == ("media", 404, "GET")
    assert "secret" not in json.dumps(line)
    assert counters.sums()["requests", (("kind", "media"), ("status", "404"))] == 1
    ask(RequestLog(PlainTextResponse("x"), counters, as_json=False))
    assert not capsys.readouterr().err


def test_a_request_that_fails_is_counted_too():
    async def fails(scope, receive, send):
        raise ZeroDivisionError

    counters = Counters()
    with pytest.raises(ZeroDivisionError):
        ask(RequestLog(fails, counters, as_json=False))
    assert counters.sums()["requests", (("kind", "page"), ("status", "0"))] == 1


def test_an_error_in_the_app_tells_the_browser_a_number_alone(capsys, monkeypatch):
    told = []
    monkeypatch.setattr("streamlit.error", lambda text, **more: told.append(text))
    with pytest.raises(FileNotFoundError) as raised:
        raise FileNotFoundError("/home/somebody/secret.png")
    assert tell_error(raised.value) is True
    line = json.loads(capsys.readouterr().err)
    assert line["kind"] == "FileNotFoundError"
    assert line["error"] in told[0]
    assert "secret" not in told[0] + json.dumps(line)


def test_counters_are_told_on_a_port_of_their_own():
    counters = Counters()
    counters.add("requests", kind="page", status="200")
    counters.add("requests", kind="page", status="200")
    server = serve_counters(counters, 0)
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            urllib.request.urlopen(f"{url}/", timeout=60)
        missing.value.close()
    finally:
        server.shutdown()
        server.server_close()
    assert 'nonlocal_lens_requests_total{kind="page",status="200"} 2' in lines
    now = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    assert now["nonlocal_lens_resident_bytes"] > 1e8
    assert now["nonlocal_lens_line_waiting"] == 0
    assert server.server_address[0] == "127.0.0.1"
