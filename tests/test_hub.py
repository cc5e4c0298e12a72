"""A hub on this machine: what it is asked, and that it is asked only when somebody says so."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for the one repository `nobody/cats`."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/nobody/cats"):
            body = json.dumps(
                {
                    "id": "nobody/cats",
                    "sha": REVISION,
                    "cardData": {"license": "cc-by-4.0"},
                    "siblings": [
                        {"rfilename": name, "size": len(data)} for name, data in self.files.items()
                    ],
                }
            ).encode()
        else:
            body = self.files.get(path.rpartition("/")[2])
            if not path.startswith("/nobody/cats/resolve/") or body is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(200)
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """Serve a small classifier; yield the address."""
    config = transformers.ViTConfig(
        num_hidden_layers=1,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=24,
        image_size=64,
        id2label={0: "cat", 1: "dog", 2: "owl"},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "cats")
    Hub.files.clear()
    Hub.files.update({path.name: path.read_bytes() for path in (tmp_path / "cats").iterdir()})
    Hub.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


CODE = """
from nonlocal_lens.models import load_network
from nonlocal_lens.models.libraries import LibraryName, offered

named = LibraryName.read("hf:nobody/cats")
print(offered.offer(named).here)
print("-")
found = offered.ask_hub(named)
print(f"{found.megabytes * 1e6:.0f}", found.license)
network = load_network(str(named))
print(network.provenance["revision"], network.classes)
print(offered.offer(named).here, str(named) in offered.names_here("hf"))
"""


def test_a_hub_tells_size_and_license_and_gives_the_network_once(hub, tmp_path):
    kept = tmp_path / "kept"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSF"))
    }
    environment |= {"HF_ENDPOINT": hub, "HF_HUB_CACHE": str(kept), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    here, _, size, opened, after = done.stdout.splitlines()
    assert here == "False"
    weights = len(Hub.files["model.safetensors"])
    assert size == f"{weights} cc-by-4.0"
    assert opened == f"{REVISION} ('cat', 'dog', 'owl')"
    assert after == "True True"
    of_it = [one for one in Hub.asked if "nobody/cats" in one]
    assert of_it[0].startswith("GET /api/models/nobody/cats"), "it was not asked for before"
