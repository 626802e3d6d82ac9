"""`fame models`, `fame convert`, `fame download`: the way to real weights, against a server on this machine."""

import dataclasses
import functools
import hashlib
import http.server
import pathlib
import threading

import jax
import numpy as np
import pytest

from fame_jax import models
from fame_jax.models import registry

torch = pytest.importorskip("torch")


@pytest.fixture
def checkpoint(torchvision, tmp_path):
    """A ResNet-18 as torchvision publishes it, of random weights."""
    folder = tmp_path / "server"
    folder.mkdir()
    file = folder / registry.published("resnet18").file
    torch.save(torchvision.models.resnet18().state_dict(), file)
    return file


@pytest.fixture
def server(checkpoint, monkeypatch):
    """The folder of the checkpoint over HTTP, in place of the publishers'."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(checkpoint.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("FAME_BASE_ADDRESS", f"http://127.0.0.1:{running.server_port}")
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def trusting(checkpoint, monkeypatch):
    """A registry that expects this very file."""
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    official = registry.published("resnet18")
    monkeypatch.setitem(registry.REGISTRY, "resnet18", dataclasses.replace(official, sha256=digest))


def test_models_lists_every_network_and_what_is_bundled(fame):
    ended = fame("models")
    assert ended.code == 0
    for name in registry.REGISTRY:
        assert name in ended.out
    line = next(line for line in ended.out.splitlines() if line.startswith("mobilenet_v2"))
    assert line.endswith("bundled")


def test_download_verifies_converts_and_installs(fame, server, trusting, checkpoint):
    ended = fame("download", "resnet18", "--no-progress")
    assert ended.code == 0, ended.err
    network = models.load("resnet18")
    stored = torch.load(checkpoint)["conv1.weight"].permute(2, 3, 1, 0)
    np.testing.assert_array_equal(network.network.conv1.kernel[...], stored)
    assert "yes" in next(line for line in fame("models").out.splitlines() if line.startswith("resnet18"))


def test_download_of_another_file_installs_nothing(fame, server):
    ended = fame("download", "resnet18", "--no-progress")
    assert ended.code == 2
    assert "SHA-256" in ended.err
    assert models.installed("resnet18") is None
    assert not list((models.home() / "downloads").iterdir())


def test_download_of_a_file_that_is_not_there_names_the_address(fame, server):
    ended = fame("download", "resnet34", "--no-progress")
    assert ended.code == 2
    assert registry.published("resnet34").file in ended.err
    assert "HTTP Error 404" in ended.err


def test_download_without_an_address_says_what_to_do(fame):
    for name, words in (("iresnet50", "without a stable address"), ("iresnet34", "no weights of it")):
        ended = fame("download", name)
        assert ended.code == 2
        assert words in ended.err
        assert f"fame convert {name} FILE" in ended.err


def test_convert_installs_and_the_original_file_loads_alike(fame, checkpoint, tmp_path):
    ended = fame("convert", "resnet18", checkpoint, "--out", tmp_path / "converted")
    assert ended.code == 0, ended.err
    for a, b in zip(
        jax.tree.leaves(models.load("resnet18", tmp_path / "converted")),
        jax.tree.leaves(models.load("resnet18", checkpoint)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert models.weights_hash("resnet18", tmp_path / "converted") == digest
    assert models.weights_hash("resnet18", checkpoint) == digest


def test_convert_of_another_network_is_refused_and_leaves_the_old_one(fame, checkpoint, tmp_path):
    assert fame("convert", "resnet18", checkpoint).code == 0
    ended = fame("convert", "resnet34", checkpoint, "--out", models.home() / "models" / "resnet34")
    assert ended.code == 2
    assert "layer1.2.bn1" in ended.err
    assert models.installed("resnet34") is None
    assert models.installed("resnet18") is not None


def test_convert_into_a_folder_of_something_else_is_refused(fame, checkpoint, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    ended = fame("convert", "resnet18", checkpoint, "--out", tmp_path / "mine")
    assert ended.code == 2
    assert "mine" in ended.err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_explain_refuses_weights_of_another_network(fame, checkpoint, tmp_path):
    ended = fame("explain", "--model", "mobilenet_v2", "--weights", checkpoint, "--out", tmp_path / "results")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert checkpoint.name in ended.err


@pytest.mark.parametrize("damage", ["cut", "emptied", "other network", "no description"])
def test_damaged_converted_folders_are_refused(fame, checkpoint, tmp_path, damage):
    folder = tmp_path / "converted"
    assert fame("convert", "resnet18", checkpoint, "--out", folder).code == 0
    name = "resnet18"
    if damage == "cut":
        largest = max(filter(pathlib.Path.is_file, folder.glob("weights-*/**/*")), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    elif damage == "emptied":
        for path in folder.glob("weights-*/**/*"):
            if path.is_file():
                path.write_bytes(b"")
    elif damage == "other network":
        name = "mobilenet_v2"
    else:
        (folder / "network.json").unlink()
    ended = fame("explain", "--model", name, "--weights", folder, "--out", tmp_path / "results")
    assert ended.code == 2, ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "converted" in ended.err
