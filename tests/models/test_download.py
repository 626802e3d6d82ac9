"""A file that was fetched is the publisher's, by its whole hash or by what the user says; nothing else is taken."""

import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from fame_jax.models.download import BASE_ADDRESS, DownloadError, download
from fame_jax.models.registry import REGISTRY

CONTENT = b"anything at all"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(monkeypatch):
    """A server that gives the same bytes for every file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(BASE_ADDRESS, f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_a_file_without_a_known_hash_needs_the_users_or_a_loud_yes(served, tmp_path):
    unknown = REGISTRY["iresnet18"]
    assert unknown.sha256 == ""
    with pytest.raises(DownloadError, match=r"no SHA-256 of this file is known.*--sha256.*--unverified"):
        download(unknown, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DownloadError, match="expected 64 hexadecimal digits"):
        download(unknown, tmp_path, sha256="b035")
    with pytest.raises(DownloadError):
        download(unknown, tmp_path, sha256="0" * 64)
    assert not list(tmp_path.iterdir())
    assert download(unknown, tmp_path, sha256=DIGEST.upper()).read_bytes() == CONTENT
    assert download(unknown, tmp_path / "other", unverified=True).read_bytes() == CONTENT


@pytest.mark.parametrize("name", [name for name, official in REGISTRY.items() if official.sha256 and official.file])
def test_a_file_of_another_hash_than_the_registrys_is_refused_even_if_unverified(name, served, tmp_path):
    official = replace(REGISTRY[name], address="http://unused")
    with pytest.raises(DownloadError):
        download(official, tmp_path, unverified=True)
    assert not list(tmp_path.iterdir())
    assert download(replace(official, sha256=DIGEST), tmp_path).read_bytes() == CONTENT
