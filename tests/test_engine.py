"""One way from a photograph to its maps, whichever door it comes in by."""

import gc
import inspect
import itertools
import pathlib
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fame_jax import class_logit, engine, models
from fame_jax.batching import map_many, perturb_many
from fame_jax.bridges import numpy_explainer
from fame_jax.data.images import load, sample_path
from fame_jax.engine import Engine, explained
from fame_jax.experiments.store import Run
from fame_jax.explainers import EXPLAINERS, MAPS, image_key
from fame_jax.explainers.explainer import Explainer, MethodError
from fame_jax.many import explain_many
from fame_jax.options import OptionError
from fame_jax.questions import Question
from fame_jax.walk import Status
from tests.cli.conftest import arrays, fame

__all__ = ["fame"]

METHODS = {"fame": {"iterations": 3}, "gradient": {}, "random": {}}
CLASSES, SIDE = 4, 16


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The cat, whole and cut, so that their proportions differ."""
    folder, cat = tmp_path_factory.mktemp("photographs"), Image.open(sample_path("cat"))
    cat.save(folder / "whole.png")
    cat.crop((60, 0, 360, 250)).save(folder / "cut.png")
    return folder


@pytest.mark.thorough
def test_one_photograph_has_one_map_in_explain_run_bridge_and_python(fame, photographs, tmp_path):
    flags = ["--method", ",".join(METHODS), "--iterations", "3", "--seed", "5", "--no-progress"]
    paths = sorted(photographs.glob("*.png"))
    assert fame("explain", *paths[::-1], "--out", tmp_path / "explained", *flags).code == 0
    assert fame("run", "folder", photographs, "--out", tmp_path / "run", *flags).code == 0
    network, card = models.find("mobilenet_v2").network, models.card("mobilenet_v2")
    images = [load(path, card.resize, card.size) for path in paths]
    labels = [int(jnp.argmax(network(jnp.asarray(image)))) for image in images]
    for name, options in METHODS.items():
        run = Run(tmp_path / "run" / name)
        bridged = numpy_explainer(network, name, channels="last", seed=5, **options)(np.stack(images), labels)
        for index, (path, image, label) in enumerate(zip(paths, images, labels, strict=True)):
            row = EXPLAINERS[name]
            alone = row.explain(network, jnp.asarray(image), label, key=image_key(5, image), **options)
            maps = {
                "explain": arrays(tmp_path / "explained" / f"{path.stem}.{name}.npz")["attribution"],
                "run": run.map([record.name for record in run.records].index(path.name)),
                "bridge": bridged[index],
                "python": np.asarray(alone.attribution),
            }
            for door, attribution in maps.items():
                assert np.array_equal(attribution, maps["python"]), f"{path.name}, {name}, {door}"


def network(image):
    weights = jnp.sin(jnp.arange(SIDE * SIDE * 3 * CLASSES, dtype=image.dtype)).reshape(-1, CLASSES)
    return jnp.tanh((image.reshape(-1) - 0.5) @ weights / SIDE)


def pictures(count):
    return list(np.random.default_rng(0).uniform(0, 1, (count, SIDE, SIDE, 3)).astype("float32"))


def test_targets_that_end_before_the_images_are_an_error_and_not_fewer_maps():
    found = explain_many(network, pictures(3), "gradient", targets=[1, 2])
    assert len(list(itertools.islice(found, 2))) == 2
    with pytest.raises(ValueError, match="explain_many: 2 targets and more images"):
        list(explain_many(network, pictures(3), "gradient", targets=[1, 2]))


def test_64_bits_stay_64_where_jax_computes_in_them():
    with jax.enable_x64(True):
        images = [np.asarray(image, np.float64) for image in pictures(2)]
        wide, *_ = explain_many(network, images, "gradient")
        narrow, *_ = explain_many(network, images, "gradient", dtype=np.float32)
        (expected,) = explain_many(network, images[:1], "gradient", dtype=np.float64)
    assert (wide.attribution.dtype, narrow.attribution.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(wide.attribution, expected.attribution)
    assert next(explain_many(network, images, "gradient")).attribution.dtype == np.float32
    assert list(explain_many(network, [], "gradient")) == []


def test_pixels_of_eight_bits_are_refused_rather_than_taken_for_0_to_255():
    eight = np.zeros((SIDE, SIDE, 3), np.uint8)
    words = r"the image is uint8; expected floating-point numbers in \[0, 1\]: divide by 255"
    with pytest.raises(OptionError, match=f"explain_many, image 0: {words}"):
        list(explain_many(network, [eight], "gradient"))
    with pytest.raises(OptionError, match=words):
        Engine(network).look([Question((eight,))])


@pytest.mark.parametrize("target", [2.9, np.int64(2**32 + 1), np.array([[3]]), "cat", True])
def test_a_target_that_is_no_index_is_named_with_its_image(target):
    found = explain_many(network, pictures(2), "gradient", [np.uint8(1), target])
    with pytest.raises(OptionError, match=r"explain_many, image 1: target .*: expected the index of a class"):
        list(found)


def test_what_comes_before_an_image_of_another_size_is_explained(monkeypatch):
    monkeypatch.setattr(engine, "usual_batch", lambda: 2)
    images = [*pictures(6), np.zeros((SIDE, SIDE + 1, 3), np.float32)]
    found = []
    with pytest.raises(ValueError, match=r"image 6 is \[16, 17, 3\]; expected \[16, 16, 3\], as image 0"):
        found.extend(explain_many(network, images, "gradient"))
    assert len(found) == 6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": -1}, "batch_size=-1: expected a whole number, 1 or more"),
        ({"seed": 2**32}, "seed=4294967296: expected a whole number from 0"),
        ({"seed": -1}, "seed=-1"),
        ({"dtype": "float64"}, "dtype=float64 needs 64-bit JAX"),
        ({"dtype": "int32"}, "dtype=int32: expected one of floating-point numbers"),
        ({"preset": "offical"}, "preset='offical'; expected paper or official"),
    ],
)
def test_what_an_engine_cannot_do_is_said_before_any_work(given, words):
    with pytest.raises(ValueError, match=words):
        explain_many(network, pictures(1), "gradient", **given)


def test_a_sigma_alone_is_the_same_blur_by_every_door():
    image = np.random.default_rng(1).uniform(0, 1, (64, 64, 3)).astype("float32")
    bright = lambda x: x.mean((0, 1))  # noqa: E731
    options, key, pixels = {"samples": 4, "sigma": 20.0}, image_key(0, image), jnp.asarray(image)
    row = EXPLAINERS["expected_gradients"]
    (one,) = explain_many(bright, [image], "expected_gradients", [1], **options)
    other = row.explain(bright, pixels, 1, key=key, **options)
    np.testing.assert_allclose(one.attribution, other.attribution, atol=1e-5)
    cut = row.explain(bright, pixels, 1, key=key, kernel_size=49, **options)
    assert np.abs(cut.attribution - other.attribution).max() > 0.01


@pytest.mark.parametrize(("method", "size"), [("gradient", None), ("rise", 2)])
def test_as_many_images_as_fit_are_taken_at_once_and_no_more_than_there_are(monkeypatch, method, size):
    """On an accelerator: 64 images if they fit, or 16 of a method of many copies; never more than are asked about."""
    seen = []

    def spied(*args, batch_size, **how):
        seen.append(batch_size)
        return map_many(*args, batch_size=1, **how)

    monkeypatch.setattr(engine, "usual_batch", lambda: 64)
    monkeypatch.setattr(engine, "map_many", spied)
    found = list(explain_many(network, pictures(2), method, **({"masks": 4} if method == "rise" else {})))
    assert len(found) == 2
    assert seen[-1] == size


@pytest.mark.parametrize("method", ["fame", "smooth_grad", "random"])
def test_a_map_depends_neither_on_the_others_nor_on_its_place(method):
    options = {"fame": {"iterations": 3, "kernel_size": 9}, "smooth_grad": {"samples": 4}, "random": {}}[method]
    images = pictures(5)
    forth = list(explain_many(network, images, method, **options))
    back = list(explain_many(network, images[::-1], method, **options))[::-1]
    (alone,) = explain_many(network, images[3:4], method, **options)
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_array_equal(one.attribution, other.attribution)
    np.testing.assert_array_equal(alone.attribution, forth[3].attribution)


def test_every_method_of_a_class_returns_the_same_kind_of_result():
    images, engine = pictures(2), Engine(network)
    for name in ("fame", "gradient", "random"):
        options = {"iterations": 2, "kernel_size": 9} if name == "fame" else {}
        method = engine.method(name, options)
        for seen, ((result,),) in explained(engine, [method], [Question((image,), 1) for image in images]):
            assert result.attribution.shape == (SIDE, SIDE)
            np.testing.assert_allclose(result.first_loss, seen.outputs[0][1], atol=1e-6)
            assert Status(int(result.status)) is Status.OK
            assert int(result.steps) == (2 if name == "fame" else 0)


def test_progress_counts_to_the_passes_of_the_method():
    counted = []
    engine = Engine(network)
    methods = [engine.method("fame", {"iterations": 3, "kernel_size": 9}), engine.method("smooth_grad", {"samples": 4})]
    list(explained(engine, methods, [Question((image,)) for image in pictures(3)], counted.append))
    assert sum(counted) == 3 * (3 + 4) == 3 * sum(method.passes for method in methods)


def test_arrays_on_the_device_stay_level():
    engine, level = Engine(network), []
    methods = [engine.method("fame", {"iterations": 2, "kernel_size": 9}), engine.method("gradient")]
    for _ in explained(engine, methods, (Question((image,)) for image in pictures(32))):
        level.append(len(jax.live_arrays()))
    assert level[-1] <= level[4]


def test_an_image_is_read_once_for_all_methods():
    read = []

    def questions():
        for number, image in enumerate(pictures(6)):
            read.append(number)
            yield Question((image,))

    engine = Engine(network)
    methods = [engine.method(name) for name in ("gradient", "random")]
    list(explained(engine, methods, questions()))
    assert read == list(range(6))


def test_what_was_filled_up_is_no_reason():
    face, other = pictures(2)
    filled = np.zeros((SIDE, SIDE), bool)
    filled[:, :5] = True
    engine = Engine(network, "pair")
    method = engine.method("random")
    ((_, (plain,)),) = explained(engine, [method], [Question((face, other))])
    ((_, (masked,)),) = explained(engine, [method], [Question((face, other), None, (filled, None))])
    for name, before, after in zip(MAPS["pair"], plain, masked, strict=True):
        kept = np.where(filled, 0, before.attribution) if name.startswith("probe") else before.attribution
        expected = kept / kept.max() if name.startswith("probe") else kept
        np.testing.assert_allclose(after.attribution, expected, rtol=1e-6)


def test_a_key_is_of_seed_and_pixels():
    one, other = pictures(2)
    keys = [image_key(0, one), image_key(0, one.astype("float64")), image_key(1, one), image_key(0, other)]
    data = [tuple(jax.random.key_data(key).tolist()) for key in keys]
    assert data[0] == data[1]
    assert len(set(data)) == 3


def test_a_file_of_ones_own_is_a_network_in_every_command(fame, photographs, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(pathlib.Path(__file__).with_name("own_network.py").read_text())
    monkeypatch.chdir(tmp_path)
    model = ["--model", "mine.py:network", "--no-progress"]
    out = tmp_path / "run"
    assert fame("run", "folder", photographs, "--out", out, *model, "--method", "gradient").code == 0
    assert fame("score", out, "--metric", "deletion", "--no-progress").code == 0
    ended = fame("explain", photographs / "whole.png", *model, "--method", "gradient", "--out", tmp_path / "explained")
    assert ended.code == 0
    found = arrays(tmp_path / "explained" / "whole.gradient.npz")["attribution"]
    np.testing.assert_array_equal(Run(out).map(1), found)


def test_a_first_image_that_is_none_is_named_and_shifts_no_target():
    with pytest.raises(OptionError, match="explain_many, image 0"):
        list(explain_many(network, [None, *pictures(1)], "gradient", [2, 1]))


def test_one_image_in_place_of_a_list_is_named():
    with pytest.raises(OptionError, match=r"explain_many, image 0: the image is \[16, 3\]"):
        list(explain_many(network, pictures(1)[0], "gradient"))


def test_a_stream_that_fills_one_buffer_gives_the_maps_of_its_images():
    images = pictures(4)

    def stream():
        buffer = np.empty((SIDE, SIDE, 3), np.float32)
        for image in images:
            buffer[:] = image
            yield buffer

    found = [one.first_loss for one in explain_many(network, stream(), "gradient", [1] * 4)]
    np.testing.assert_array_equal(found, [one.first_loss for one in explain_many(network, images, "gradient", [1] * 4)])
    walks = perturb_many(class_logit, ((image, (1,)) for image in stream()), network, batch_size=2, iterations=1)
    np.testing.assert_allclose([walk.first_loss for _, walk in walks], found, rtol=1e-5)


def test_another_engine_compiles_no_method_anew(monkeypatch):
    calls = []
    explain = Explainer.results
    monkeypatch.setattr(Explainer, "results", lambda *args, **options: calls.append(1) or explain(*args, **options))
    for _ in range(3):
        list(explain_many(network, pictures(1), "gradient", [1], sigma=1.25))
    assert len(calls) == 1
    list(explain_many(network, pictures(1), "gradient", [1], sigma=1.75))
    assert len(calls) == 2


def test_an_engine_sees_a_new_layer_and_lets_go_of_its_network():
    class Mean(nnx.Module):
        def __init__(self, classes):
            self.layer = nnx.Linear(3, classes, rngs=nnx.Rngs(0))

        def __call__(self, image):
            return self.layer(image.mean((0, 1)))

    module = Mean(2)
    found, reference = Engine(module), weakref.ref(module)
    assert found.outputs(SIDE, SIDE) == 2
    module.layer = nnx.Linear(3, 5, rngs=nnx.Rngs(0))
    assert found.outputs(SIDE, SIDE) == 5
    del module, found
    gc.collect()
    assert reference() is None


def test_64_bits_that_are_gone_when_a_map_is_asked_for_are_told():
    with jax.enable_x64(True):
        found = explain_many(network, [np.zeros((SIDE, SIDE, 3))], "gradient", [1])
    with pytest.raises(OptionError, match="needs 64-bit JAX"):
        next(found)


def test_an_option_that_is_an_array_may_change_in_place_and_compiles_nothing_anew():
    traces, images = [], pictures(1)

    def counted(image):
        traces.append(None)
        return jnp.tanh(image.mean((0, 1)) * 9)

    def found(**options):
        (one,) = explain_many(counted, images, "integrated_gradients", [1], steps=3, **options)
        return one.attribution

    baseline = np.zeros(images[0].shape, np.float32)
    before = found(baseline=baseline)
    first = len(traces)
    baseline[::2] += 0.9
    after = found(baseline=baseline)
    assert len(traces) == first
    assert np.abs(after - before).max() > 0.01
    direct = EXPLAINERS["integrated_gradients"].explain(counted, jnp.asarray(images[0]), 1, steps=3, baseline=baseline)
    np.testing.assert_allclose(after, direct.attribution, atol=1e-6)


def test_another_seed_compiles_nothing():
    traces, images = [], pictures(1)

    def counted(image):
        traces.append(None)
        return jnp.tanh((image**3).mean((0, 1)) * 9)

    maps, counts = [], []
    for seed in (0, 1, 2**32 - 1):
        before = len(traces)
        (one,) = explain_many(counted, images, "smooth_grad", [1], samples=2, seed=seed)
        maps.append(one.attribution)
        key = image_key(seed, images[0])
        counts.append(len(traces) - before)
        direct = EXPLAINERS["smooth_grad"].explain(counted, jnp.asarray(images[0]), 1, samples=2, key=key)
        np.testing.assert_allclose(one.attribution, direct.attribution, atol=1e-6)
    assert counts[0] > counts[1] == counts[2] == 0
    assert np.abs(maps[0] - maps[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("targets", "words"),
    [(3, r"targets=3: expected a class for each image, such as \[3\]"), ([1, 2, 3], "3 targets and 2 images")],
)
def test_targets_that_are_not_one_for_each_image_are_refused(targets, words):
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(explain_many)(network, pictures(2), "gradient", targets)


@pytest.mark.parametrize(
    "returned", [lambda image: image, lambda image: image[::2, ::2, 0], lambda image: image[None, ..., 0]]
)
def test_a_method_of_ones_own_returns_one_number_a_pixel(returned):
    with pytest.raises(MethodError, match=r"mine returned \[.*\]; expected a map \[16, 16\]"):
        list(explain_many(network, [np.ones((16, 16, 3), np.float32)], _mine(returned), [1]))


def _mine(returned):
    def mine(network, image, label):
        return returned(image)

    return mine


def test_other_arrays_that_a_method_of_ones_own_has_got_hold_of_are_seen():
    held = {}

    def mine(network, image, label):
        return held["map"] * image[..., 0]

    image, maps = np.ones((16, 16, 3), np.float32), []
    for value in (0.25, 0.5):
        held["map"] = jnp.full((16, 16), value)
        (one,) = explain_many(network, [image], mine, [1])
        maps.append(float(one.attribution.max()))
    assert maps == [0.25, 0.5]
