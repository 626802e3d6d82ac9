"""ONNX files in the commands: told by flags or installed, explained, run, scored; bad ones in one line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from PIL import Image

from fame_jax import class_logit, explain, models
from fame_jax import onnx as reader
from fame_jax.cli.convert import Convert
from fame_jax.cli.graphs import GraphFlags
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.data.faces import load_face, sample_face, sunglasses
from fame_jax.data.images import sample_path
from fame_jax.identity import identity
from fame_jax.onnx.photometry import hint
from tests.cli.conftest import arrays, manifest
from tests.onnx.graphs import content, convolutional, model, node, planes, relative, runtime

SIDE = 48
TOLD = ("--preset-input", "timm_half", "--size", str(SIDE), "--features", "relu1")
QUICK = ("--iterations", "2", "--no-progress")


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A classifier of five classes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.onnx").write_bytes(content(convolutional()))
    (tmp_path / "five.txt").write_text("ant\nbee\ncat\ndog\neel\n")
    return tmp_path / "small.onnx"


@pytest.fixture
def installed(fame, graph):
    ended = fame("convert", "onnx", graph, "--name", "mine", *TOLD, "--labels", "five.txt")
    assert ended.code == 0, ended.err
    return "mine"


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.open(sample_path("cat")).save(folder / "cat.png")
    return folder


def test_a_file_and_what_is_installed_of_it_give_the_map_of_the_graph(fame, graph, installed):
    assert fame("explain", "--model", graph, *TOLD, *QUICK, "--target", "1", "--out", "file").code == 0
    assert fame("explain", "--model", installed, *QUICK, "--target", "bee", "--out", "name").code == 0
    of_file, of_name = (arrays(graph.parent / out / "chelsea.fame.npz") for out in ("file", "name"))
    half = reader.Photometry(0.5, 0.5)
    network = reader.read(graph, photometry=half, size=(SIDE, SIDE))
    expected = jax.jit(lambda image, network: explain(class_logit, image, network, 1, iterations=2).attribution)(
        jnp.asarray(of_file["image"]), network
    )
    np.testing.assert_array_equal(of_file["attribution"], of_name["attribution"])
    assert relative(of_file["attribution"], expected) <= 1e-4
    logits = runtime(graph.read_bytes(), x=planes((of_file["image"] - 0.5) / 0.5))[0][0]
    assert float(of_file["first_loss"]) == pytest.approx(logits[1], rel=1e-5)
    assert manifest(graph.parent / "file")["card"]["mean"] == [0.5] * 3


def test_methods_that_look_inside_and_random_weights(fame, installed, tmp_path):
    methods = ("--method", "grad_cam,fullgrad", "--sanity", "--no-progress")
    ended = fame("explain", "--model", installed, *methods, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert ended.out.count("with random weights") == 2
    for entry in manifest(tmp_path / "out")["inputs"]:
        assert entry["status"] == "ok"
        assert entry["randomised_network"]["ssim"] < 0.999


def test_a_run_of_a_file_is_continued_and_scored(fame, graph, photographs):
    command = ("run", "folder", photographs, "--out", "maps", "--model", graph, *QUICK)
    assert fame(*command, *TOLD).code == 0
    assert fame(*command, *TOLD).code == 0
    other = fame(*command, "--preset-input", "unit", *TOLD[2:])
    assert other.code == 2
    assert "mean [0.5, 0.5, 0.5] -> [0.0, 0.0, 0.0]" in other.err
    scored = fame("score", "maps", "--metric", "deletion", "--fractions", "0,0.5,1", "--json", "--no-progress")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["deletion"][0]["figures"]
    graph.write_bytes(content(convolutional(classes=6)))
    changed = fame("score", "maps", "--metric", "insertion", "--no-progress")
    assert changed.code == 2
    assert "explained small" in changed.err


@pytest.mark.slow
def test_locations_bench_report_and_models_take_it(fame, graph, installed, photographs):
    assert fame("locations", "--model", installed, "--rows", "3", *QUICK, "--method", "gradient").code == 2
    assert fame("locations", "--model", graph, "--rows", "3", *TOLD, *QUICK).code == 0
    timed = fame("bench", installed, "--batch-sizes", "1", "--steps", "2", "--repeats", "1", "--no-progress")
    assert timed.code == 0, timed.err
    page = ("report", photographs / "cat.png", "--model", graph, *TOLD, "--method", "gradient", "--no-progress")
    assert fame(*page, "--out", "page.html").code == 0
    assert "--preset-input=timm_half" in (graph.parent / "page.html").read_text()
    shown = fame("models", installed).out
    assert 'layer: "relu1"' in shown
    assert f"features: [{SIDE // 2}, {SIDE // 2}, 8]" in shown


def faces_twin(path):
    """InsightFace's network, small, with random weights, exported as the packs are."""
    torch = pytest.importorskip("torch")
    from tests.reference.arcface_torch import ArcFace, exported
    from tests.reference.twins import randomise

    torch.manual_seed(0)
    path.write_bytes(exported(randomise(ArcFace((1, 1, 1, 1), (8, 8, 12, 16), 16))))
    return path


@pytest.mark.thorough
def test_a_face_network_of_insightface_is_aligned_for_verified_and_calibrated(fame, tmp_path):
    network = faces_twin(tmp_path / "w600k_r50.onnx")
    Image.open(sample_path("portrait")).save(tmp_path / "one.png")
    Image.fromarray(np.rint(sunglasses(sample_face().image).image * 255).astype(np.uint8)).save(tmp_path / "two.png")
    told = ("--model", network, "--preset-input", "insightface", "--no-progress")
    pair = (tmp_path / "one.png", tmp_path / "two.png")
    ended = fame("verify", *pair, *told, "--iterations", "2", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    crops = [load_face(path).image for path in pair]
    one, two = (runtime(network.read_bytes(), **{"input.1": planes((255 * x - 127.5) / 127.5)})[0][0] for x in crops)
    found = arrays(tmp_path / "out" / "one-two.fame.npz")
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert float(found["similarity"]) == pytest.approx(cosine, abs=1e-5)
    assert "no threshold" in ended.out
    (tmp_path / "pairs.csv").write_text("G,P,T\none.png,one.png,1\none.png,two.png,0\n")
    assert fame("calibrate", tmp_path / "pairs.csv", *told).code == 0
    assert stored_threshold("w600k_r50", models.find(network, card=_card(network)).card.sha256).known


def _card(path):
    return models.Card(path.stem, "face", size=112, resize=112, mean=(0.5,) * 3, std=(0.5,) * 3, score="logit")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no ONNX file says which pixels it expects. Give --preset-input, one of unit"),
        (["--preset-input", "insigtface"], "--preset-input insigtface: expected one of"),
        (["--preset-input", "unit"], "the graph leaves the size open; give --size"),
        (["--preset-input", "insightface", "--size", "96"], "faces are aligned to 112x112"),
        (["--preset-input", "insightface"], "is a face network: use fame verify"),
        ([*TOLD, "--features", "relu9"], "no node makes a tensor 'relu9'; did you mean relu1?"),
        ([*TOLD, "--output", "flt"], "no node makes a tensor 'flt'; did you mean flat"),
        ([*TOLD, "--output", "map"], "expected floating point [outputs]"),
        ([*TOLD, "--labels", "two.txt"], "has 5 outputs, its card 2 labels"),
        ([*TOLD, "--labels", "none.txt"], "none.txt"),
        (
            [*TOLD, "--score", "sigmoid", "--weights", "two.txt"],
            "weights go with the name of a published network",
        ),
    ],
)
def test_what_is_told_wrong_ends_in_one_line(fame, graph, arguments, words):
    (graph.parent / "two.txt").write_text("ant\nbee\n")
    refused(fame("explain", "--model", "small.onnx", *arguments, *QUICK), words)
    assert not (graph.parent / "fame-out").exists()


def refused(ended, words):
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_flags_for_graphs_are_refused_for_other_networks(fame, graph):
    refused(fame("explain", "--preset-input", "unit"), "--preset-input is for ONNX files")
    refused(fame("convert", "resnet18", graph, "--name", "x", "--output", "y"), "--output: is for ONNX graphs")
    refused(fame("convert", "onnx", graph, *TOLD), "--name: an ONNX file needs one")
    refused(fame("convert", "onnx", graph, *TOLD, "--name", "a/b"), "--name a/b: expected letters")
    refused(fame("convert", "onnx", graph, *TOLD, "--name", "a", "--key", "ema"), "--key, --format")
    refused(fame("convert", "onnx", graph, *TOLD, "--name", "a", "--task", "detect", "--decoding", "yolo",
                 "--resize", "64"), "--resize: photographs are cropped for classifiers alone")  # fmt: skip
    refused(fame("bench", "mobilenet_v2", "--preset-input", "timm"), "--preset-input is for ONNX files")
    refused(fame("download", "resnet50", "--name", "mine"), "--name mine: is for hf: addresses")
    assert fame("convert", "onnx", graph, *TOLD[2:], "--preset-input", "levels_bgr", "--rgb", "--name", "a").code == 0
    assert not models.find("a").card.reverse_channels


def test_a_file_that_is_none_and_one_with_a_missing_operator(fame, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    unknown = model([node("Nonsense", "x", "a"), node("Relu", "a")])
    (tmp_path / "unknown.onnx").write_bytes(content(unknown))
    for command in (["explain", "--model"], ["inspect"], ["convert", "onnx"]):
        told = () if command == ["inspect"] else ("--preset-input", "unit", "--size", "32")
        told += ("--name", "x") if command[0] == "convert" else ()
        refused(fame(*command, tmp_path / "text.onnx", *told), "damaged, or no ONNX file")
        ended = fame(*command, tmp_path / "unknown.onnx", *told)
        assert ended.code == 2
        assert "Nonsense (Nonsense a)" in ended.err or "Nonsense: Nonsense a" in ended.out
    assert models.installed("x") is None


def test_several_outputs_are_chosen_from(fame, tmp_path):
    pool = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y"), node("Neg", "y", "z")]
    (tmp_path / "two.onnx").write_bytes(content(model(pool, outputs=("y", "z"))))
    told = ("--preset-input", "unit", "--size", "32", "--no-progress", "--method", "gradient")
    refused(fame("explain", "--model", tmp_path / "two.onnx", *told), "the outputs are y, z; name one: --output")
    command = ("explain", "--model", tmp_path / "two.onnx", *told, "--output", "z", "--target", "0", "--out", "o")
    assert fame(*command[:-1], tmp_path / "out").code == 0
    found = arrays(tmp_path / "out" / "chelsea.gradient.npz")
    assert float(found["first_loss"]) == pytest.approx(-found["image"][..., 0].mean(), rel=1e-5)


def test_external_data_is_moved_in_and_may_not_lead_out(fame, graph):
    made, inside = convolutional(), graph.parent / "inside"
    inside.mkdir()
    onnx.save(made, inside / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    assert fame("convert", "onnx", inside / "big.onnx", "--name", "big", *TOLD).code == 0
    (inside / "big.data").rename(graph.parent / "big.data")
    moved = onnx.load(inside / "big.onnx", load_external_data=False)
    for tensor in moved.graph.initializer:
        tensor.external_data[0].value = "../big.data"
    (inside / "big.onnx").write_bytes(content(moved))
    refused(fame("convert", "onnx", inside / "big.onnx", "--name", "out", *TOLD), "in or below the model's folder")
    assert models.installed("out") is None
    image = jnp.full((SIDE, SIDE, 3), 0.25)
    network = reader.read(graph, photometry=reader.Photometry(0.5, 0.5))
    np.testing.assert_array_equal(models.load("big")(image), network(image))


def test_a_graph_that_normalises_by_itself_is_said_to(fame, tmp_path):
    nodes = [
        node("Sub", "x m", "a"),
        node("Mul", "a s", "b"),
        node("GlobalAveragePool", "b", "p"),
        node("Flatten", "p"),
    ]
    constants = {"m": np.full((1, 3, 1, 1), 127.5, np.float32), "s": np.full((1, 3, 1, 1), 0.0078125, np.float32)}
    path = tmp_path / "own.onnx"
    path.write_bytes(content(model(nodes, constants=constants, inputs={"x": (1, 3, 32, 32)})))
    words = "The graph begins with Sub 127.5 127.5 127.5, Mul 0.0078125 0.0078125 0.0078125: it seems to normalise by "
    words += "itself, from levels or levels_bgr."
    refused(fame("explain", "--model", path), words)
    assert words in fame("inspect", path).out
    options = ("--model", path, "--method", "gradient", "--no-progress", "--out", tmp_path / "out")
    twice = fame("explain", *options, "--preset-input", "torchvision")
    assert twice.code == 0
    assert f"{words} What is told is done in front of that." in twice.err
    assert "seems" not in fame("explain", *options, "--preset-input", "levels").err


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        (("Sub 0.485 0.456 0.406", "Div 0.229 0.224 0.225"), "unit."),
        (("Cast", "Unsqueeze 0", "Sub 123.675 116.28 103.53"), "levels or levels_bgr."),
        (("Mul 0.00392157", "Sub 0.5"), "levels or levels_bgr."),
        (("Div 255",), "levels or levels_bgr."),
        (("BatchNormalization 1 1 1 0 0 0",), "unit or levels."),
        (("Transpose",), ""),
    ],
)
def test_the_pixels_that_a_normalisation_is_of(begins, expected):
    assert hint(begins).endswith(expected)
    assert bool(hint(begins)) == bool(expected)


def test_presets_are_for_checkpoints_too(tmp_path):
    card = Convert("iresnet50", tmp_path, name="mine", graph=GraphFlags(preset_input="insightface"), rgb=True)._card()
    assert (card.mean, card.std, card.reverse_channels) == ((0.5,) * 3, (0.5,) * 3, False)
    assert GraphFlags(preset_input="timm", bgr=True, mean=(0.0,) * 3).pixels() == {
        "mean": (0.0,) * 3,
        "std": models.card("resnet18").std,
        "reverse_channels": True,
    }


def test_inspect_shows_what_a_card_needs(fame, graph):
    ended = fame("inspect", graph, "--size", SIDE, "--candidates", "3")
    assert ended.code == 0
    for words in (
        "x float32[1, 3, H, W]",
        "Conv 3",
        "949",
        "3 of 7 tensors (images of 48x48 pixels)",
        "--size, the side",
    ):
        assert words in ended.out
    assert "unless the last map is meant: map" in ended.out
    assert "relu1" not in ended.out


def test_a_graph_is_told_from_another_by_content_alone(graph, tmp_path):
    (tmp_path / "copy.onnx").write_bytes(graph.read_bytes())
    same = [identity(reader.read(path, photometry="unit")) for path in (graph, tmp_path / "copy.onnx")]
    assert same[0] == same[1] != identity(reader.read(graph, photometry="levels"))
    network = reader.read(graph, photometry="unit")
    products = [identity(network.in_precision("float32", products)) for products in ("highest", "default")]
    assert products[0] != products[1]
    (tmp_path / "copy.onnx").write_bytes(content(convolutional(classes=6)))
    assert same[0] != identity(reader.read(tmp_path / "copy.onnx", photometry="unit"))


@pytest.mark.parametrize(("precision", "limit"), [("float64", 1e-5), ("float32", 1e-5), ("bfloat16", 0.03)])
def test_precisions_keep_the_images_dtype(graph, precision, limit):
    card = models.Card("small", "class", size=SIDE, resize=SIDE)
    with jax.enable_x64(precision == "float64"):
        network = models.find(graph, precision=precision, card=card).network
        image = jnp.full((SIDE, SIDE, 3), 0.25, models.image_dtype(precision))
        output = network(image)
        assert output.dtype == image.dtype
        assert {str(value.dtype) for value in network.parameters.values()} == {precision}
        standardised = (np.full((SIDE, SIDE, 3), 0.25) - card.mean) / card.std
        expected = runtime(graph.read_bytes(), x=planes(standardised).astype(np.float32))[0][0]
        assert relative(output, expected) <= limit


def test_without_a_card_it_is_said_how_to_learn_what_is_needed(graph):
    with pytest.raises(models.CheckpointError, match="fame inspect shows"):
        models.find(graph)
