"""The hub, played by a server on this machine: redirects, hashes, revisions, cache; CVLface's and timm's layouts."""

import hashlib
import http.server
import json
import pathlib
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import models
from fame_jax.models import CardError, DownloadError
from fame_jax.models.hub import address, card_of_config
from tests.marks import slow
from tests.reference import iresnet_torch
from tests.reference.twins import randomise

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
constants = pytest.importorskip("huggingface_hub.constants")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CVLFACE = {"conf": {"yaml_path": "models/iresnet/configs/v1_ir18.yaml", "input_size": [3, 112, 112],
                    "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "output_dim": 512}}  # fmt: skip
TIMM = {"architecture": "resnet18", "num_classes": 4, "label_names": ["a", "b", "c", "d"], "pretrained_cfg": {
    "input_size": [3, 64, 64], "crop_pct": 0.8, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4],
    "license": "apache-2.0"}}  # fmt: skip


class Hub(http.server.BaseHTTPRequestHandler):
    """Small files come at once; weights by a redirect, with their size and SHA-256 in the headers."""

    files: dict[str, bytes]
    lies: set[str]

    def answer(self, body: bool):
        path = self.path.split("?")[0]
        name = path.replace(f"/resolve/{COMMIT}/", "/resolve/main/").removeprefix("/cdn")
        content = self.files.get(name)
        self.send_response(404 if content is None else 200 if path.startswith("/cdn") or ".json" in path else 302)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
            content = b""
        digest = hashlib.sha256(content if name not in self.lies else b"another").hexdigest()
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-ETag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(len(content)))
        redirected = not path.startswith("/cdn") and ".json" not in path
        if redirected:
            self.send_header("Location", f"/cdn{path}")
        self.send_header("Content-Length", "0" if redirected else str(len(content)))
        self.end_headers()
        if body and not redirected:
            self.wfile.write(content)

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server without files, which the client takes for the hub."""
    handler = type("Handler", (Hub,), {"files": {}, "lies": set()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        here = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", here)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield handler
        running.shutdown()
        thread.join()


def publish(hub, repository, files):
    hub.files |= {f"/{repository}/resolve/main/{name}": content for name, content in files.items()}


def weights_of(module, prefix=""):
    return safetensors.save({prefix + key: value.contiguous() for key, value in module.state_dict().items()})


@pytest.mark.parametrize(
    ("depth", "space"),
    [
        (18, "BGR"),
        pytest.param(18, "RGB", marks=pytest.mark.thorough),
        pytest.param(50, "RGB", marks=pytest.mark.slow),
        pytest.param(101, "BGR", marks=pytest.mark.slow),
    ],
)
def test_cvlface_is_read_in_the_channel_order_of_its_config(depth, space, hub, fame):
    twin = randomise(iresnet_torch.IResNet(iresnet_torch.DEPTHS[depth]))
    repository = models.REGISTRY[f"iresnet{depth}"].hub
    path = f"models/iresnet/configs/v1_ir{depth}.yaml"
    config = {"conf": CVLFACE["conf"] | {"color_space": space, "yaml_path": path}}
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": weights_of(twin, "model.net.")}
    publish(hub, repository, files)
    assert f"fame download hf:{repository}" in fame("download", f"iresnet{depth}").err
    ended = fame("download", f"hf:{repository}@{COMMIT}", "--name", "mine")
    assert ended.code == 0, ended.err
    assert "Verified by the SHA-256 that the hub gives" in ended.out
    card, network = models.find("mine")
    assert card.source == f"hf:{repository}@{COMMIT}"
    assert card.architecture == f"iresnet{depth}"
    assert card.reverse_channels == (space == "BGR")
    face = np.random.default_rng(0).random((112, 112, 3)).astype(np.float32)
    normalised = torch.from_numpy((face if space == "RGB" else face[..., ::-1].copy()) * 2 - 1)
    expected = twin(normalised.permute(2, 0, 1)[None])
    expected = (expected[0] if isinstance(expected, tuple) else expected)[0].detach().numpy()
    found = jax.jit(lambda network, face: network(face))(network, jnp.asarray(face))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "architecture",
    ["resnet18", *slow("mobilenetv2_100", "resnet50")],
)
def test_timm_is_read_with_its_photometry_geometry_and_labels(architecture, hub, fame, torchvision):
    twin = randomise(pytest.importorskip("timm").create_model(architecture, num_classes=4))
    config = json.dumps(TIMM | {"architecture": architecture}).encode()
    publish(hub, f"timm/{architecture}.mine", {"config.json": config, "model.safetensors": weights_of(twin)})
    assert fame("download", f"hf:timm/{architecture}.mine").code == 0
    card, network = models.find(f"{architecture}.mine")
    assert (card.size, card.resize, card.labels, card.licence) == (64, 80, ("a", "b", "c", "d"), "apache-2.0")
    image = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    normalised = (image - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.3, 0.4])
    expected = twin(torch.from_numpy(normalised).permute(2, 0, 1)[None])[0].detach().numpy()
    found = jax.jit(lambda network, image: network(image))(network, jnp.asarray(image))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_file_of_another_hash_installs_nothing(hub, fame, torchvision):
    content = weights_of(torchvision.models.resnet18(num_classes=4))
    publish(hub, "timm/resnet18.mine", {"config.json": json.dumps(TIMM).encode(), "model.safetensors": content})
    hub.lies.add("/timm/resnet18.mine/resolve/main/model.safetensors")
    ended = fame("download", "hf:timm/resnet18.mine")
    assert ended.code == 2
    assert "nothing was installed" in ended.err
    hub.lies.clear()
    ended = fame("download", "hf:timm/resnet18.mine", "--sha256", "0" * 64)
    assert ended.code == 2
    assert f"is {hashlib.sha256(content).hexdigest()}, as the hub says, expected {'0' * 64} from --sha256" in ended.err
    assert models.installed("resnet18.mine") is None
    assert fame("download", "hf:timm/resnet18.mine", "--sha256", hashlib.sha256(content).hexdigest()).code == 0
    assert models.about(models.installed("resnet18.mine")).verified == "sha256"


def test_only_a_file_that_is_not_the_hubs_leaves_the_cache(hub, fame):
    """What it holds is not looked at before its hash is."""
    publish(hub, "timm/resnet18.mine", {"config.json": json.dumps(TIMM).encode(), "model.safetensors": b"weights"})
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fame("download", "hf:timm/resnet18.mine", "--sha256", "0" * 64).code == 2
    (blob,) = pathlib.Path(constants.HF_HUB_CACHE).rglob(f"blobs/{digest}")
    assert blob.read_bytes() == b"weights"
    blob.write_bytes(b"damaged")
    ended = fame("download", "hf:timm/resnet18.mine", "--sha256", digest)
    assert f"expected {digest} from the hub; the damaged file was removed" in ended.err
    assert not blob.exists()


@pytest.mark.parametrize(
    ("repository", "name"),
    [("someone/resnet18", None), ("someone/mine", "resnet50"), ("someone/mine", "../x"), ("someone/mine", "/tmp/x"),
     ("someone/mine", ".."), ("someone/.mine", None)],
)  # fmt: skip
def test_a_name_that_is_no_network_of_ones_own_is_refused_before_anything_is_fetched(hub, fame, repository, name):
    ended = fame("download", f"hf:{repository}", *(() if name is None else ("--name", name)))
    assert ended.code == 2
    assert f"--name {name or repository.split('/')[1]}: expected letters, digits" in ended.err
    assert "Give another --name." in ended.err
    assert not pathlib.Path(constants.HF_HUB_CACHE).exists()


def test_what_was_fetched_is_there_without_the_hub(hub, fame, torchvision, monkeypatch):
    content = weights_of(torchvision.models.resnet18(num_classes=4))
    publish(hub, "timm/resnet18.mine", {"config.json": json.dumps(TIMM).encode(), "model.safetensors": content})
    assert fame("download", "hf:timm/resnet18.mine").code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.files.clear()
    assert fame("download", "hf:timm/resnet18.mine", "--name", "again").code == 0
    ended = fame("download", "hf:timm/resnet18.other")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1


def test_converted_weights_are_shared_as_safetensors(hub, fame, torchvision, tmp_path):
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "mine.pth")
    given = ("--name", "birds", "--format", "safetensors", "--out", tmp_path / "birds")
    assert fame("convert", "resnet18", tmp_path / "mine.pth", *given).code == 0
    publish(hub, "me/birds", {path.name: path.read_bytes() for path in (tmp_path / "birds").iterdir()})
    card, network = models.find("hf://me/birds")
    expected = models.find(tmp_path / "birds")
    assert card == expected.card
    for a, b in zip(jax.tree.leaves(network), jax.tree.leaves(expected.network), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("text", ["hf:birds", "hf:me/birds/more", "hf:", "hf:me/birds@", "hf:../birds@x y"])
def test_an_address_of_another_form_is_refused(text):
    with pytest.raises(DownloadError, match="expected hf:OWNER/NAME"):
        address(text)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "no object"),
        ({"conf": CVLFACE["conf"]}, "color_space"),
        ({"conf": CVLFACE["conf"] | {"color_space": "YUV"}}, "color_space is 'YUV'"),
        ({"conf": {"name": "vit", "color_space": "RGB"}}, "names no network"),
        (TIMM | {"architecture": "vit_large_patch16_224"}, "vit_large_patch16_224 is not known.* vit_base_patch16_224"),
        (TIMM | {"pretrained_cfg": {"input_size": [3, 64, 96]}}, "expected a square"),
        (TIMM | {"pretrained_cfg": {"input_size": [3, 64, 64]}}, "KeyError: 'mean'"),
    ],
)
def test_a_config_that_does_not_tell_is_refused(config, words):
    with pytest.raises(CardError, match=words):
        card_of_config(config, "me/mine")
