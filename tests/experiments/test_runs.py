import json
import os
import resource
import shutil
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from fame_jax import PRESETS
from fame_jax.experiments.lock import locked
from fame_jax.experiments.run import finish, prepared, run
from fame_jax.experiments.store import FAILED, Run, RunError
from fame_jax.explainers import EXPLAINERS, class_map, image_key, pair_maps
from fame_jax.inputs import PictureError, geometry_of, images, read
from fame_jax.walk import Status
from tests.experiments import tiny


def explained(folder, out, task="class", method="fame", network=None, how=None, **settings):
    chosen = tiny.settings(**({} if method == "fame" else {"iterations": None}) | settings)
    net = tiny.network(task) if network is None else network
    return run(net, tiny.dataset(folder, task), method, out, chosen, card=tiny.card(task), **(how or {}))


def seen(found, index):
    """The images of a record."""
    return [jnp.asarray(image) for image in images(found.records[index], geometry_of(found.manifest))]


def test_maps_are_those_of_one_photograph_at_a_time(folder, tmp_path):
    found, net = explained(folder, tmp_path / "out"), tiny.network()
    for index in (0, 1, 2, 4):
        record = found.records[index]
        (image,) = seen(found, index)
        label = int(jnp.argmax(net(image))) if record.label is None else record.label
        alone = class_map(net, image, label, iterations=3)
        np.testing.assert_allclose(found.map(index), alone.attribution, atol=1e-5)
        assert found.column("label")[index] == label
        assert found.column("predicted")[index] == int(jnp.argmax(net(image)))
        assert found.column("steps")[index] == 3
        np.testing.assert_allclose(found.column("first_loss")[index, 0], net(image)[label], rtol=1e-4)
        np.testing.assert_allclose(found.column("last_loss")[index, 0], alone.last_loss, rtol=1e-4)


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_four_maps_of_a_pair_are_those_of_the_pair_alone(folder, tmp_path, preset):
    found, net = explained(folder, tmp_path / "out", "pair", preset=preset), tiny.network("pair")
    assert found.manifest["options"]["free_norm"] == (preset == "official")
    alone = pair_maps(net, *seen(found, 1), iterations=3, **PRESETS[preset]["faces"])
    np.testing.assert_allclose(found.column("similarity")[1], alone.similarity, atol=1e-6)
    for i, name in enumerate(found.roles):
        np.testing.assert_allclose(found.map(1, name), getattr(alone, name).attribution, atol=1e-5)
        np.testing.assert_allclose(found.column("last_loss")[1, i], getattr(alone, name).last_loss, atol=1e-5)


def test_every_picture_has_a_key_of_its_own_wherever_it_stands(folder, tmp_path):
    found = explained(folder, tmp_path / "out", method="random", seed=7)
    for index in (0, 4):
        (image,) = seen(found, index)
        expected = EXPLAINERS["random"].explain(tiny.network(), image, 0, key=image_key(7, image))
        np.testing.assert_array_equal(found.map(index), expected.attribution)
    assert found.column("steps")[0] == 0
    assert np.isfinite(found.column("first_loss")[0])
    other = explained(folder, tmp_path / "other", method="random", seed=7, block_size=3)
    np.testing.assert_array_equal(found.map(4), other.map(4))


@pytest.mark.parametrize("method", ["xssab", "random"])
def test_other_methods_of_pairs(folder, tmp_path, method):
    found = explained(folder, tmp_path / "out", "pair", method)
    assert found.map(0).shape == (112, 112)
    assert set(found.column("status")[0].tolist()) <= {Status.OK, Status.BLANK}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_maps_are_stored_as_asked_and_read_by_zarr(folder, tmp_path, dtype):
    zarr = pytest.importorskip("zarr")
    found = explained(folder, tmp_path / "out", dtype=dtype)
    array = zarr.open_array(tmp_path / "out" / "arrays" / "attribution", mode="r")
    assert array.dtype == dtype
    np.testing.assert_array_equal(np.asarray(array[4], np.float32), found.map(4))
    assert found.map(0).dtype == np.float32
    np.testing.assert_array_equal(found.map(-1), found.map(np.int64(4)))
    with pytest.raises(IndexError):
        found.map(5)
    assert found.map(0).max() == 1


def test_a_bad_picture_is_written_down_and_the_others_are_explained(folder, tmp_path):
    found = explained(folder, tmp_path / "out")
    ((index, reason),) = found.failures().items()
    assert index == 3
    assert "0003.png" in reason
    assert found.column("state").tolist() == [1, 1, 1, FAILED, 1]
    assert not found.map(3).any()
    assert found.map(2).any()
    with pytest.raises(PictureError):
        seen(found, 3)


def test_a_picture_that_a_decoder_trips_over_does_not_end_the_job(folder, tmp_path, monkeypatch):
    from fame_jax.experiments import run as module

    def tripping(picture, chosen):
        if picture.path.stem == "0001":
            raise ZeroDivisionError("in a decoder")
        return read(picture, chosen)

    monkeypatch.setattr(module, "read", tripping)
    reason = explained(folder, tmp_path / "out").failures()[1]
    assert reason.endswith("0001.png: ZeroDivisionError: in a decoder")


@pytest.mark.parametrize("label", [-1, tiny.OUTPUTS])
def test_a_record_with_a_label_that_the_network_does_not_have_fails_by_itself(folder, tmp_path, label):
    data = tiny.dataset(folder)
    data = replace(data, records=(replace(data.records[0], label=label), *data.records[1:]))
    found = run(tiny.network(), data, "fame", tmp_path / "out", tiny.settings(), card=tiny.card())
    assert found.failures()[0] == f"class {label} is outside the network's 5 outputs; expected 0 to 4"
    assert found.column("status")[:3, 0].tolist() == [Status.NO_MAP, Status.OK, Status.OK]


def test_a_block_of_bad_pictures_only(folder, tmp_path):
    (folder / "0002.png").write_bytes(b"")
    found = explained(folder, tmp_path / "out")
    assert list(found.failures()) == [2, 3]
    assert found.is_complete(1)


def test_nothing_is_computed_twice_and_what_lacks_is_computed(folder, tmp_path):
    out, steps = tmp_path / "out", []
    explained(folder, out, how={"progress": steps.append})
    assert sum(steps) == 5 * 3
    before = tiny.contents(out)
    (out / "arrays" / "state" / "c" / "1").unlink()
    (out / "arrays" / "steps" / "c" / "2" / "0").unlink()
    steps.clear()
    explained(folder, out, how={"progress": steps.append})
    assert sum(steps) == 3 * 3
    assert tiny.contents(out) == before
    steps.clear()
    explained(folder, out, how={"progress": steps.append})
    assert steps == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iterations": 4}, "iterations 3 -> 4"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"dtype": "float16"}, 'dtype "float32" -> "float16"'),
        ({"preset": "official"}, 'grey_of "change" -> "images"'),
        ({"network": tiny.network(seed=1)}, "weights_sha256"),
        ({"method": "random"}, 'method "fame" -> "random"'),
    ],
)
def test_what_decides_the_numbers_is_never_mixed(folder, tmp_path, change, words):
    explained(folder, tmp_path / "out")
    before = tiny.contents(tmp_path / "out")
    with pytest.raises(RunError, match="never mixed") as refused:
        explained(folder, tmp_path / "out", **change)
    assert words in str(refused.value)
    assert tiny.contents(tmp_path / "out") == before


def test_another_list_of_records_is_refused_by_its_first_difference(folder, tmp_path):
    explained(folder, tmp_path / "out")
    shutil.copy(folder / "0001.png", folder / "0000-new.png")
    with pytest.raises(RunError, match=r"records 5 -> 6.*record 0 was 0000, is 0000-new"):
        explained(folder, tmp_path / "out")


def test_a_changed_picture_is_noticed_and_repaired(folder, tmp_path):
    out = tmp_path / "out"
    explained(folder, out)
    shutil.copy(folder / "0001.png", folder / "0000.png")
    with pytest.raises(RunError, match=r"0000\.png: the picture is not the one that was explained"):
        explained(folder, out)
    found = explained(folder, out, how={"repair": True})
    fresh = explained(folder, tmp_path / "fresh")
    assert tiny.contents(found.folder) == tiny.contents(fresh.folder)


def test_failed_records_are_tried_again_by_repair(folder, tmp_path):
    out = tmp_path / "out"
    explained(folder, out)
    shutil.copy(folder / "0001.png", folder / "0003.png")
    assert list(explained(folder, out).failures()) == [3]
    assert explained(folder, out, how={"repair": True}).failures() == {}
    explained(folder, tmp_path / "fresh")
    assert tiny.contents(out) == tiny.contents(tmp_path / "fresh")


def cut_short(whole):
    return whole[:-5]


def flipped(whole):
    return whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]


@pytest.mark.parametrize("damage", [cut_short, flipped])
@pytest.mark.parametrize("name", ["attribution/c/1/0/0", "state/c/1"])
def test_a_damaged_file_is_named_and_repaired(folder, tmp_path, name, damage):
    out = tmp_path / "out"
    found, file = explained(folder, out), out / "arrays" / name
    before = tiny.contents(out)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RunError, match=name) as refused:
        found.map(2) if "attribution" in name else found.column("state")
    assert "--repair" in str(refused.value)
    explained(folder, out, how={"repair": True})
    assert tiny.contents(out) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifest.json", lambda text: text.replace('"version": 2', '"version": 0'), "version 0"),
        ("manifest.json", lambda text: text[:50], "not the manifest of a run"),
        ("records.jsonl", lambda text: text[:-50], "not the records of a run"),
        (
            "records.jsonl",
            lambda text: text.replace('"boxes": []', '"boxes": [[0, 0, Infinity, 1]]'),
            "not the records",
        ),
        ("records.jsonl", lambda text: text.splitlines()[0], "1 records, expected 5 of task class"),
    ],
)
def test_a_store_of_another_version_or_a_damaged_one_is_refused(folder, tmp_path, name, content, words):
    out = tmp_path / "out"
    explained(folder, out)
    (out / name).write_text(content((out / name).read_text()))
    with pytest.raises(RunError, match=words):
        explained(folder, out)
    with pytest.raises(RunError, match=words):
        Run(out)


def test_a_folder_of_other_things_is_left_alone(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files"):
        explained(folder, tmp_path)
    with pytest.raises(RunError, match="cannot be written there"):
        explained(folder, tmp_path / "notes.txt" / "out")


def test_a_layout_that_was_interrupted_is_laid_out_again(folder, tmp_path):
    explained(folder, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    explained(folder, tmp_path / "out")
    assert tiny.contents(tmp_path / "out") == tiny.contents(tmp_path / "whole")


def test_two_runs_into_one_folder_at_once_are_refused(folder, tmp_path):
    with locked(tmp_path / "out" / ".lock-0"), pytest.raises(RunError, match=f"process {os.getpid()} on .* is writing"):
        explained(folder, tmp_path / "out")
    assert explained(folder, tmp_path / "out").failures()


def test_a_full_disk_costs_one_block(folder, tmp_path):
    out = tmp_path / "out"
    data, card, net, chosen = tiny.dataset(folder), tiny.card(), tiny.network(), tiny.settings()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with prepared(data, card, "fame", out, chosen, identity="0") as job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        try:
            with pytest.raises(RunError, match=r"cannot be written .*too large.* give the same command again"):
                finish([job], net)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with prepared(data, card, "fame", out, chosen, identity="0") as job:
        assert job.pending == [0, 1, 2]
        finish([job], net)
    assert not list(out.rglob("*lock"))
    with prepared(data, card, "fame", tmp_path / "fresh", chosen, identity="0") as job:
        finish([job], net)
    assert tiny.contents(out) == tiny.contents(tmp_path / "fresh")


def test_other_versions_are_kept_in_the_manifest_and_told(folder, tmp_path):
    out, told = tmp_path / "out", []
    explained(folder, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["provenance"][0]["versions"]["jax"] = "0.0.1"
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert len(explained(folder, out).manifest["provenance"]) == 1, "nothing was left to compute"
    (out / "arrays" / "state" / "c" / "2").unlink()
    found = explained(folder, out, how={"say": told.append})
    assert len(found.manifest["provenance"]) == 2
    assert 'jax "0.0.1" ->' in told[0]


@pytest.mark.parametrize(
    ("method", "task", "options", "words"),
    [
        ("fggb", "class", {}, "explains no classes"),
        ("gradcam", "class", {}, "grad_cam"),
        ("random", "class", {"iterations": 3}, "no option 'iterations'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(folder, tmp_path, method, task, options, words):
    with pytest.raises(ValueError, match=words):
        explained(folder, tmp_path / "out", task, method, **options)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_network_of_the_other_task_is_refused(folder, tmp_path):
    with pytest.raises(RunError, match="needs a classifier"):
        run(tiny.network(), tiny.dataset(folder), "fame", tmp_path / "out", tiny.settings(), card=tiny.card("pair"))
