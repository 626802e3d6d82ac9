"""An installation that is interrupted anywhere leaves the network before or the new one, whole."""

import hashlib
import http.server
import threading

import jax
import numpy as np
import pytest

from fame_jax import files, models
from fame_jax.models import checkpoint
from fame_jax.models.download import fetch

torch = pytest.importorskip("torch")


@pytest.fixture
def old_and_new(torchvision, tmp_path, monkeypatch):
    """Files of two networks, of which the first is installed as `mine`."""
    monkeypatch.setenv("FAME_HOME", str(tmp_path / "home"))
    paths = []
    for outputs in (2, 3):
        paths.append(tmp_path / f"{outputs}.pth")
        torch.save(torchvision.models.resnet18(num_classes=outputs).state_dict(), paths[-1])
    card = models.Card("mine", "class", 64, 64, architecture="resnet18")
    models.install(card, paths[0])
    return card, paths[1]


class Killed(BaseException):
    """Stands for a process that ends here: nothing after it is run, nothing is cleaned up."""


STEPS = {
    "before anything": (checkpoint, "_stored_before"),
    "before the arrays": (checkpoint, "_write_orbax"),
    "before the hashes": (checkpoint, "_hashes"),
    "before the card": (files, "write_json"),
    "before the old is removed": (checkpoint, "_remove_others"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("step", STEPS)
def test_old_or_new_is_there_whole(step, old_and_new, monkeypatch):
    card, new = old_and_new
    module, name = STEPS[step]

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, kill)
        with pytest.raises(Killed):
            models.install(card, new)
    network = models.find("mine").network
    outputs = jax.eval_shape(network, jax.ShapeDtypeStruct((64, 64, 3), np.float32)).shape
    assert outputs == ((3,) if step == "before the old is removed" else (2,))
    models.install(card, new)
    assert models.find("mine").network.network.fc.kernel.shape == (512, 3)


def test_a_first_installation_that_was_interrupted_is_not_in_the_way(old_and_new, monkeypatch, tmp_path):
    card, new = old_and_new
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_json", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            models.install(card, new, tmp_path / "fresh")
    with pytest.raises(models.CheckpointError, match=r"no network\.json"):
        models.find(tmp_path / "fresh")
    models.install(card, new, tmp_path / "fresh")
    assert models.find(tmp_path / "fresh").card.name == "mine"


def test_only_one_network_stays(old_and_new):
    card, new = old_and_new
    folder = models.install(card, new)
    assert sorted(path.name for path in folder.iterdir()) == ["network.json", checkpoint.about(folder).stored]


@pytest.mark.parametrize("stored", ["../weights", "/etc", "weights-../../x", ""])
def test_a_card_does_not_lead_out_of_its_folder(stored, old_and_new):
    folder = models.installed("mine")
    content = files.read_json(folder / "network.json") | {"stored": stored}
    files.write_json(folder / "network.json", content)
    with pytest.raises(models.CheckpointError, match="cannot lie under"):
        models.find("mine")


class Server(http.server.BaseHTTPRequestHandler):
    """Ends in the middle of a file, in the way that its address names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/nonsense":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
        else:
            self.send_response(200)
            length = ("Transfer-Encoding", "chunked") if self.path == "/chunked" else ("Content-Length", "100")
            self.send_header(*length)
            self.end_headers()
            self.wfile.write(b"a\r\n0123456789\r\n" if self.path == "/chunked" else b"0123456789")
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("way", ["short", "chunked", "nonsense", "killed"])
@pytest.mark.parametrize("expected", ["", hashlib.sha256(b"0123456789").hexdigest()[:8], "0" * 64])
def test_a_download_that_breaks_off_leaves_what_was_there(address, way, expected, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"old")

    def report(done, total):
        if way == "killed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt if way == "killed" else models.DownloadError) as caught:
        fetch(f"{address}/{way}", file, expected, report)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]
    assert file.read_bytes() == b"old"
