"""An installation that is interrupted anywhere leaves the network before or the new one, whole."""

import jax
import numpy as np
import pytest

from fame_jax import files, models
from fame_jax.models import checkpoint

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
