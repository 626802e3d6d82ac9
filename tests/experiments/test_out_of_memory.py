"""A device with too little memory for a block: smaller batches where maps do not depend on them, or others alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax.batching import maps, slots
from fame_jax.experiments.run import finish, prepared, run
from fame_jax.experiments.store import DONE, PENDING, RunError
from fame_jax.inputs import geometry_of, images
from tests.experiments import tiny

NUMBER = 18


class Device:
    """Raises as XLA does where a batch has more than `most` images; with `only`, if the one that begins so is there."""

    def __init__(self):
        self.most, self.only, self.batches = NUMBER, None, []

    def holding(self, program, place):
        def call(*args):
            batch = np.asarray(jax.tree.leaves(args[place])[0])
            self.batches.append(len(batch))
            if len(batch) > self.most and self.only in (None, *batch[:, 0, 0, 0].tolist()):
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")
            return program(*args)

        return call


@pytest.fixture
def device(monkeypatch):
    found = Device()
    monkeypatch.setattr(maps, "_mapped", found.holding(maps._mapped, 3))
    monkeypatch.setattr(slots, "advanced", found.holding(slots.advanced, 5))
    return found


@pytest.fixture
def pictures(tmp_path):
    tiny.pictures(tmp_path / "pictures", NUMBER)
    return tmp_path / "pictures"


def explained(pictures, out, method="random", precision="float32", **chosen):
    chosen = tiny.settings(None, **{"batch_size": 4, "block_size": 4, "precision": precision} | chosen)
    network = tiny.network(dtype=jnp.dtype(precision))
    return run(network, tiny.dataset(pictures), method, out, chosen, card=tiny.card(), identity="0")


def without_losses(run):
    """The files, but for those of numbers that are kept in 64 bits, whose last ones are rounding."""
    return {name: content for name, content in tiny.contents(run.folder).items() if "_loss" not in name}


@pytest.mark.parametrize("method", ["gradient", "random"])
def test_in_64_bits_the_batch_is_halved_and_the_maps_are_the_same(device, pictures, tmp_path, method):
    with jax.enable_x64(True):
        whole = explained(pictures, tmp_path / "whole", method, "float64")
        device.most, device.batches = 1, []
        found = explained(pictures, tmp_path / "out", method, "float64")
    assert device.batches[:3] == [4, 2, 1]
    assert set(device.batches[2:]) == {1}, "what did not fit once is not tried again"
    for name in ("first_loss", "last_loss"):
        np.testing.assert_allclose(found.column(name), whole.column(name), rtol=1e-12)
    assert without_losses(found) == without_losses(whole)


def test_a_walk_is_halved_too(device, pictures, tmp_path):
    with jax.enable_x64(True):
        how = {"iterations": 2, "precision": "float64", "batch_size": 4, "block_size": 9}
        data, network = tiny.dataset(pictures), tiny.network(dtype=jnp.float64)
        whole = run(network, data, "fame", tmp_path / "whole", tiny.settings(**how), card=tiny.card())
        device.most = 2
        found = run(network, data, "fame", tmp_path / "out", tiny.settings(**how), card=tiny.card())
    assert found.failures() == {}
    np.testing.assert_array_equal(found.column("attribution"), whole.column("attribution"))


def test_in_32_bits_a_block_that_does_not_fit_is_reported_and_the_others_are_computed(device, pictures, tmp_path):
    whole = explained(pictures, tmp_path / "whole")
    (image,) = images(whole.records[5], geometry_of(whole.manifest))
    device.most, device.only = 1, float(image[0, 0, 0])
    found = explained(pictures, tmp_path / "out")
    assert found.column("state").tolist() == [PENDING if index // 4 == 1 else DONE for index in range(NUMBER)]
    assert list(found.failures()) == [4, 5, 6, 7]
    (reason,) = set(found.failures().values())
    assert "too little memory for a batch of 4; run with --batch-size 2 into a new folder" in reason
    device.most = NUMBER
    again = explained(pictures, tmp_path / "out")
    assert again.failures() == {}
    assert tiny.contents(again.folder) == tiny.contents(whole.folder)


def test_where_one_image_does_not_fit_nothing_is_halved_and_the_rest_is_not_tried(device, pictures, tmp_path):
    device.most = 0
    with jax.enable_x64(True), pytest.raises(RunError, match=r"8 blocks in a row failed, the last one: .* batch of 1;"):
        explained(pictures, tmp_path / "out", "random", "float64", batch_size=1, block_size=2)
    assert device.batches == [1] * 8


def test_one_method_that_does_not_fit_leaves_the_other_alone(device, pictures, tmp_path):
    network, data = tiny.network(), tiny.dataset(pictures)
    device.most = 1
    large, small = (tiny.settings(None, batch_size=size, block_size=6) for size in (4, 1))
    with (
        prepared(data, tiny.card(), "gradient", tmp_path / "large", large, identity="0") as one,
        prepared(data, tiny.card(), "random", tmp_path / "small", small, identity="0") as other,
    ):
        failed = finish([one, other], network)
    assert [sorted(blocks) for blocks in failed] == [[0, 1, 2], []]
    assert (other.store.column("state") == DONE).all()


def test_a_block_that_cannot_be_repaired_keeps_its_maps_and_reasons(device, pictures, tmp_path):
    (pictures / "0001.png").write_bytes(b"no picture")
    found = explained(pictures, tmp_path / "out", batch_size=2)
    reasons, before = found.failures(), tiny.contents(found.folder)
    device.most = 1
    chosen = tiny.settings(None, batch_size=2, block_size=4)
    how = {"identity": "0", "repair": True}
    with prepared(tiny.dataset(pictures), tiny.card(), "random", found.folder, chosen, **how) as job:
        (failed,) = finish([job], tiny.network())
    assert list(failed) == [0]
    assert job.store.failures() == reasons
    assert tiny.contents(found.folder) == before


def test_another_error_of_the_device_is_not_taken_for_it(device, pictures, tmp_path, monkeypatch):
    def broken(*args):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device is gone")

    monkeypatch.setattr(maps, "_mapped", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the device is gone"):
        explained(pictures, tmp_path / "out")
