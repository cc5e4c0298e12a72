import ast
import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.images import read_image
from nonlocal_lens.app import link
from nonlocal_lens.models import download, load_network
from nonlocal_lens.models.checkpoint import check_sha256
from nonlocal_lens.models.download import cache_directory, cached, fetch, noted_sha256

CONTENT = bytes(range(251)) * 1021
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges, without them, cut short, or nothing."""

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if "missing" in self.path:
            self.send_error(404)
            return
        start = 0
        if asked and "rangeless" not in self.path:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(CONTENT):
                self.send_error(416)
                return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if "broken" in self.path else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("NONLOCAL_LENS_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url_of(server, name="weights.pth"):
    return f"http://127.0.0.1:{server.server_port}/folder/{name}"


def partial_of(url):
    return cached(url).with_name(cached(url).name + ".partial")


def test_a_file_is_fetched_once(server):
    url = url_of(server)
    path = fetch(url, SHA256[:8])
    assert path == cached(url)
    assert path.read_bytes() == CONTENT
    assert fetch(url, SHA256[:8]) == path
    assert server.asked == [None]
    assert not partial_of(url).exists()


def test_progress_is_told_in_bytes_and_what_it_raises_interrupts(server, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 100_000)
    url, told = url_of(server), []
    fetch(url, SHA256[:8], lambda arrived, total: told.append((arrived, total)))
    assert told == [(100_000, 256_271), (200_000, 256_271), (256_271, 256_271)]

    def stop(arrived, total):
        raise KeyboardInterrupt

    url = url_of(server, "other.pth")
    with pytest.raises(KeyboardInterrupt):
        fetch(url, SHA256[:8], stop)
    assert partial_of(url).stat().st_size == 100_000
    assert fetch(url, SHA256[:8]).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["weights.pth", "rangeless.pth"])
def test_an_interrupted_download_goes_on_or_starts_again(server, name):
    url = url_of(server, name)
    partial_of(url).parent.mkdir()
    partial_of(url).write_bytes(CONTENT[:4099])
    assert fetch(url, SHA256).read_bytes() == CONTENT
    assert server.asked == ["bytes=4099-"]


def test_a_connection_that_breaks_leaves_what_came_and_no_file(server):
    url = url_of(server, "broken.pth")
    with pytest.raises(ConnectionError, match=rf"broke after 1000 of {len(CONTENT)} bytes"):
        fetch(url, SHA256)
    assert partial_of(url).read_bytes() == CONTENT[:1000]
    assert not cached(url).exists()
    with pytest.raises(ConnectionError, match="broke after 2000"):
        fetch(url, SHA256)


def test_what_is_not_the_published_file_is_thrown_away(server):
    url = url_of(server)
    with pytest.raises(ValueError, match=f"must begin with 00000000, got {SHA256}"):
        fetch(url, "00000000")
    assert not cached(url).exists()
    assert not partial_of(url).exists()


def test_leftovers_that_are_too_long_are_thrown_away(server):
    url = url_of(server)
    partial_of(url).parent.mkdir()
    partial_of(url).write_bytes(CONTENT + b"more")
    assert fetch(url, SHA256).read_bytes() == CONTENT


def test_a_file_without_a_known_hash_must_be_whole(server):
    assert fetch(url_of(server), None).read_bytes() == CONTENT


def test_what_came_is_noted_and_what_it_became_is_found_out(server, tmp_path):
    """A disk that forgets a bit of a file whose hash nobody published."""
    path = fetch(url_of(server), None)
    assert noted_sha256(path) == SHA256
    check_sha256(path, noted_sha256(path))
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ValueError, match=f"is damaged: its sha256 must begin with {SHA256}"):
        check_sha256(path, noted_sha256(path))
    assert noted_sha256(tmp_path / "brought.pth") == ""


def test_a_published_network_without_a_published_hash_is_checked_on_every_load(
    tmp_path, monkeypatch
):
    from nonlocal_lens.models.published import PUBLISHED

    monkeypatch.setenv("NONLOCAL_LENS_CACHE", str(tmp_path))
    name, spec = next((n, one) for n, one in PUBLISHED.items() if one.sha256_prefix is None)
    path = cached(spec.url)
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3, 3)}}, path)
    path.with_name(path.name + ".sha256").write_text("0" * 64)
    with pytest.raises(ValueError, match=r"is damaged: its sha256 must begin with 0{64}, got "):
        load_network(name)


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/no/weights.pth", "missing"])
def test_when_it_cannot_be_reached_one_sentence_says_where_to_put_it(server, where):
    url = url_of(server, "missing.pth") if where == "missing" else where
    with pytest.raises(ConnectionError) as info:
        fetch(url, SHA256)
    message = str(info.value)
    assert message.startswith(f"{url} cannot be downloaded (")
    assert message.endswith(f"put it at {cached(url)}")
    assert "\n" not in message
    cached(url).write_bytes(CONTENT)
    assert fetch(url, SHA256) == cached(url)


def test_several_at_once_download_once(server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(url_of(server), SHA256), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert server.asked == [None]


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", None, ".cache/nonlocal-lens"),
        ("linux", "XDG_CACHE_HOME", "chosen/nonlocal-lens"),
        ("darwin", None, "Library/Caches/nonlocal-lens"),
        ("win32", "LOCALAPPDATA", "chosen/nonlocal-lens"),
        ("win32", "NONLOCAL_LENS_CACHE", "chosen"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    tmp_path, monkeypatch, platform, variable, expected
):
    for name in ("NONLOCAL_LENS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    assert cache_directory() == tmp_path / expected


ROOT = Path(__file__).parents[1]
REACH_OUT = {
    *("aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "smtplib", "socket"),
    *("torch.hub", "torchvision.datasets.utils", "urllib", "urllib3", "websockets"),
}


def sources():
    paths = [
        path
        for room in ("streets", "models", "analysis", "app")
        for path in (ROOT / room).rglob("*.py")
    ]
    assert len(paths) > 100
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(node):
    """Return the last name of what is called: of `a.b.c(...)`, c."""
    return getattr(node.func, "attr", None) or getattr(node.func, "id", None)


def test_one_module_reaches_out_and_only_to_where_published_networks_are():
    trees = sources()
    reaching = {
        path
        for path, tree in trees.items()
        for name in imports(tree)
        if any(f"{name}.".startswith(f"{module}.") for module in REACH_OUT)
    }
    # libraries are asked by name, where a user names a network of theirs, and reach out themselves
    libraries = {
        f"models/libraries/{name}.py"
        for name in ("__init__", "from_hugging_face", "from_timm", "offered")
    }
    listening = {"app/server/counters.py"}  # it answers this computer, and asks nobody
    assert reaching == {"models/download.py", *libraries, *listening}
    asked = {
        (path, ast.unparse(node.args[0]))
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) == "fetch"
    }
    assert asked == {
        ("models/checkpoint.py", "spec.url"),
        ("app/components/network_search.py", "spec.url"),
    }


def playlist(url):
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"


def concatenation(url):
    return f"ffconcat version 1.0\nfile {url}\n"


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.pth", "a.png"])
def test_what_a_user_writes_is_never_fetched(server, name):
    url = url_of(server, name)
    for read in (load_network, read_image, read_clip):
        with pytest.raises((ValueError, OSError)):
            read(url)
    found, notices = link.read({"networks": url, "picture": url}, ["streets-dnl"])
    assert (found.networks, found.picture, len(notices)) == ((), None, 2)
    assert server.asked == []


@pytest.mark.parametrize("content", [playlist, concatenation])
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.avi"])
def test_an_uploaded_video_that_names_an_address_is_not_followed(server, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content(url_of(server, "video.ts")))
    with pytest.raises(ValueError, match=name):
        read_clip(path)
    with pytest.raises(ValueError, match=r"the file|the clip|video"):
        read_clip(path.read_bytes())
    assert server.asked == []
